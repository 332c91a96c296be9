// Where handles, futures, tasks and coroutine frames live: a free list per size, and a counted pointer.
// Upstream counterpart: Objects/obmalloc.c and the reference count of every Python object.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

namespace asyncio {

/// The free blocks of one thread, a list per size class: a block that is given back is the first to be handed
/// out again, still warm in the cache. Blocks come from operator new one by one, so a block may be given back
/// in another thread than the one that took it. Sanitizers and ASYNCIO_NO_POOL switch it off, to see every
/// block's true life.
struct Pool {
  struct Block {
    Block* next;
  };
  static constexpr std::size_t STEP = 16, CLASSES = 64;
  // 24, 40, 56 …: with the 8 bytes that malloc needs beside them nothing is lost.
  static constexpr std::size_t class_of(std::size_t size) { return (size + STEP - 9) / STEP; }

  static void* allocate(std::size_t size);
  static void release(void* memory, std::size_t size) noexcept;

  Block* free[CLASSES];
  bool closed;  // this thread is ending: what is given back from now on goes back to the system
};

/// An object with a reference count inside. One thread owns a loop and all its objects: the count is not
/// atomic.
class Counted {
 public:
  Counted() = default;
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

  void incref() noexcept { ++references_; }
  void decref() noexcept {
    if (--references_ == 0) unreferenced();
  }
  std::uint32_t references() const noexcept { return references_; }

  static void* operator new(std::size_t size) { return Pool::allocate(size); }
  static void operator delete(void* memory, std::size_t size) noexcept { Pool::release(memory, size); }
  static void* operator new(std::size_t size, std::align_val_t align) { return ::operator new(size, align); }
  static void operator delete(void* memory, std::align_val_t align) noexcept { ::operator delete(memory, align); }

 protected:
  friend void destroy_in_turn(const Counted* object) noexcept;
  virtual ~Counted() = default;
  /// The last reference is gone.
  virtual void unreferenced() noexcept { delete this; }

 private:
  std::uint32_t references_ = 0;
};

/// Destroys it after what is being destroyed in this way now, not inside: objects that hold one another in a chain of any
/// length need no deep stack. Upstream counterpart: Py_TRASHCAN_BEGIN.
void destroy_in_turn(const Counted* object) noexcept;

/// A counted pointer to a Counted, or null.
template <class T> class Ref {
 public:
  Ref() = default;
  Ref(std::nullptr_t) noexcept {}  // NOLINT: null is a Ref
  explicit Ref(T* object) noexcept : object_(object) {
    if (object_) object_->incref();
  }
  Ref(const Ref& other) noexcept : Ref(other.object_) {}
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  template <class U> Ref(Ref<U> other) noexcept
      : object_(other.detach()) {}  // NOLINT: a Ref to a derived class is a Ref
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_) object_->decref();
  }

  /// Takes over a reference that detach() gave away.
  static Ref adopt(T* object) noexcept {
    Ref ref;
    ref.object_ = object;
    return ref;
  }
  T* detach() noexcept { return std::exchange(object_, nullptr); }

  T* get() const noexcept { return object_; }
  T* operator->() const noexcept { return object_; }
  T& operator*() const noexcept { return *object_; }
  explicit operator bool() const noexcept { return object_ != nullptr; }
  friend bool operator==(const Ref&, const Ref&) = default;

 private:
  T* object_ = nullptr;
};

template <class T, class... Args> Ref<T> make_ref(Args&&... args) { return Ref<T>(new T(std::forward<Args>(args)...)); }

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ASYNCIO_NO_POOL 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define ASYNCIO_NO_POOL 1
#endif
#endif

#if defined(ASYNCIO_NO_POOL)

inline void* Pool::allocate(std::size_t size) { return ::operator new(size); }
inline void Pool::release(void* memory, std::size_t) noexcept { ::operator delete(memory); }

#else

extern constinit thread_local Pool pool;
void* pool_grow(std::size_t size);

inline void* Pool::allocate(std::size_t size) {
  const std::size_t size_class = class_of(size);
  if (size_class >= CLASSES || !pool.free[size_class]) return pool_grow(size);
  return std::exchange(pool.free[size_class], pool.free[size_class]->next);
}

inline void Pool::release(void* memory, std::size_t size) noexcept {
  const std::size_t size_class = class_of(size);
  if (size_class >= CLASSES || pool.closed) return ::operator delete(memory);
  pool.free[size_class] = new (memory) Block{pool.free[size_class]};
}

#endif

}  // namespace asyncio
