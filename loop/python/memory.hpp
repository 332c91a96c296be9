// The memory of handles, futures, tasks and coroutine frames: a free list per size, and a counted pointer.
// Upstream counterpart: Objects/obmalloc.c and the reference count of every Python object.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

namespace asyncio {

/// The free blocks of one thread, a list per size class. The block that was released last is used first, because it is
/// likely still in the cache. Another thread may release a block, and when a thread ends, the others get what it has.
/// Sanitizers and ASYNCIO_NO_POOL switch the pool off, so that they see when each block is really allocated and
/// released.
struct Pool {
  struct Block {
    Block* next;
  };
  static constexpr std::size_t STEP = 16, CLASSES = 64;
  static constexpr std::size_t class_of(std::size_t size) { return (size + STEP - 1) / STEP; }

  static void* allocate(std::size_t size);
  static void release(void* memory, std::size_t size) noexcept;

  Block* free[CLASSES];
  bool closed;  // the thread has no blocks, or is ending: what is released goes to the others
};

/// An object with a reference count. The count is not atomic, because one thread owns a loop and all its objects.
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

/// Deletes the object. When called from a destructor that it runs itself, it waits until that destructor has returned,
/// so that a long chain of objects that hold one another needs no deep stack. Upstream counterpart: Py_TRASHCAN_BEGIN.
void destroy_in_turn(const Counted* object) noexcept;

/// A pointer to a Counted that holds a reference, or null.
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

  /// Takes ownership of a reference from detach().
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
void pool_grow(std::size_t size_class);
void pool_give(std::size_t size_class, Pool::Block* list) noexcept;

[[gnu::always_inline]] inline void* Pool::allocate(std::size_t size) {
  const std::size_t size_class = class_of(size);
  if (size_class >= CLASSES) return ::operator new(size);
  if (!pool.free[size_class]) pool_grow(size_class);
  return std::exchange(pool.free[size_class], pool.free[size_class]->next);
}

[[gnu::always_inline]] inline void Pool::release(void* memory, std::size_t size) noexcept {
  const std::size_t size_class = class_of(size);
  if (size_class >= CLASSES) return ::operator delete(memory);
  if (pool.closed) return pool_give(size_class, new (memory) Block{nullptr});
  pool.free[size_class] = new (memory) Block{pool.free[size_class]};
}

#endif

}  // namespace asyncio
