# Programs that need libraries and servers from outside: README.md here. What pkg-config must find for each of them:
needs_03_redis     := hiredis
needs_04_dns       := libcares
needs_05_curl      := libcurl
needs_06_postgres  := libpq
needs_07_sqlite    := sqlite3
needs_08_mongo     := libbson-1.0
needs_09_websocket := libcrypto
needs_10_tls       := libssl libcrypto
needs_11_http2     := libnghttp2
needs_12_web       := nlohmann_json sqlite3
needs_13_glib      := gio-2.0

# wslay has no file for pkg-config.
header_of_09_websocket := wslay/wslay.h
libs_of_09_websocket   := -lwslay

THIRD_PARTY_PACKAGES := pkg-config libhiredis-dev libc-ares-dev libcurl4-openssl-dev libpq-dev libsqlite3-dev libbson-dev libwslay-dev \
  libssl-dev libnghttp2-dev nlohmann-json3-dev libglib2.0-dev \
  memcached redis-server dnsmasq-base postgresql openssl nghttp2-server wrk \
  python3 python3-redis python3-aiohttp python3-asyncpg python3-aiodns python3-websockets python3-motor python3-aiosqlite \
  python3-serial-asyncio python3-httpx python3-h2 python3-gi

# PROGRAMS='03_redis 04_dns' chooses among them.
PROGRAMS ?= $(sort $(notdir $(basename $(wildcard examples/third_party/[0-9]*.cpp))))

.PHONY: third-party third-party-deps
third-party-deps:  ## installs from apt what the programs of examples/third_party need
	@examples/third_party/install $(THIRD_PARTY_PACKAGES)

# pkg-config is asked only when it matters.
ifneq ($(filter third-party,$(MAKECMDGOALS)),)
has_packages = $(if $(needs_$(1)),$(shell pkg-config --exists $(needs_$(1)) 2>/dev/null && echo yes),yes)
has_header   = $(if $(header_of_$(1)),$(shell printf '\043include <$(header_of_$(1))>\n' | $(CXX) -E -x c++ - >/dev/null 2>&1 && echo yes),yes)
third_party_built   := $(foreach name,$(PROGRAMS),$(if $(and $(call has_packages,$(name)),$(call has_header,$(name))),$(name)))
third_party_skipped := $(foreach name,$(filter-out $(third_party_built),$(PROGRAMS)),$(name):$(subst $(empty) $(empty),+,$(strip $(needs_$(name)) $(header_of_$(name)))))
endif

third-party: $(addprefix $(BUILD)/examples/third_party/,$(third_party_built)) $(addprefix $(BUILD)/examples/http/,server_async2 json_server)  ## the loop among real libraries and servers: builds and tests examples/third_party
	@BUILD=$(abspath $(BUILD)) python3 examples/third_party/driver.py $(BUILD) $(third_party_built) $(addprefix skipped:,$(third_party_skipped))

# The headers of others are not held to our warnings.
asked_of_pkg_config = $(if $(needs_$(basename $(@F))),$(shell pkg-config $(1) $(needs_$(basename $(@F)))))
$(BUILD)/examples/third_party/%.o: defines = $(patsubst -I%,-isystem %,$(call asked_of_pkg_config,--cflags))
$(BUILD)/examples/third_party/%: $(BUILD)/examples/third_party/%.o $(LIB) $(BUILD)/link.flags
	@$(link) $< $(LIB) $(call asked_of_pkg_config,--libs) $(libs_of_$(@F)) -o $@
