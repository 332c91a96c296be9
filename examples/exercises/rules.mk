# README.md. N has a default, which is another target's.
.PHONY: exercise exercises check-exercises

exercise exercises check-exercises: export NUMBER := $(if $(filter file,$(origin N)),,$(N))
exercise exercises check-exercises: export EXERCISE_COMPILE = $(CXX) -std=c++20 $(CPPFLAGS) $(sanitize) $(CXXFLAGS)
exercise exercises check-exercises: export EXERCISE_LINK = $(link)
exercise exercises check-exercises: export EXERCISE_LIBS = $(CATCH_LIBS)
exercise exercises check-exercises: export BUILD := $(BUILD)

exercise: $(if $(SOLUTION),,catch2)  ## write a function of the library yourself: make exercise N=04 (SOLUTION=1, RESET=1, FOLDER=~/mine)
	@MAKE='$(MAKE)' examples/exercises/exercise

exercises:  ## the fifteen exercises, and how far you are
	@examples/exercises/exercise list

check-exercises: catch2  ## are the exercises what they say? The empty one fails, the library's own passes, wrong ones are told apart
	@MAKE='$(MAKE)' tests/tools/exercises
