// A doubly linked list whose links are inside its members: adding and removing allocate no memory.
#pragma once

#include <cstddef>

namespace asyncio {

/// Base of the members of a LinkedList. A member is in at most one list, and its destructor removes it.
class Link {
 public:
  Link() = default;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  ~Link() { unlink(); }

  bool linked() const noexcept { return next_ != nullptr; }
  void unlink() noexcept {
    if (!next_) return;
    previous_->next_ = next_;
    next_->previous_ = previous_;
    next_ = previous_ = nullptr;
  }

 private:
  template <class T> friend class LinkedList;
  Link *next_ = nullptr, *previous_ = nullptr;
};

/// Does not own its members. Its destructor unlinks them.
template <class T> class LinkedList {
 public:
  LinkedList() noexcept { head_.next_ = head_.previous_ = &head_; }
  ~LinkedList() {
    while (!empty()) head_.next_->unlink();
  }
  LinkedList(const LinkedList&) = delete;
  LinkedList& operator=(const LinkedList&) = delete;

  bool empty() const noexcept { return head_.next_ == &head_; }
  /// The first member, or the one after `member`; null at the end.
  T* next(const Link* member = nullptr) const noexcept {
    Link* link = member ? member->next_ : head_.next_;
    return link == &head_ ? nullptr : static_cast<T*>(link);
  }
  std::size_t size() const noexcept {  // counts them
    std::size_t n = 0;
    for (const Link* link = head_.next_; link != &head_; link = link->next_) ++n;
    return n;
  }
  /// Appends the member, and removes it from its previous list, if there is one.
  void push_back(T& member) noexcept {
    Link& link = member;
    link.unlink();
    link.next_ = &head_;
    link.previous_ = head_.previous_;
    head_.previous_ = link.previous_->next_ = &link;
  }
  T& pop_front() noexcept {
    T& member = *next();
    static_cast<Link&>(member).unlink();
    return member;
  }

 private:
  Link head_;
};

}  // namespace asyncio
