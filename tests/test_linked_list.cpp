// The list through its members, in which waiters and pending tasks stand.
#include <memory>
#include <vector>

#include "tests/utils.hpp"

namespace {

struct Node : asyncio::Link {
  explicit Node(int n) : number(n) {}
  int number;
};
using List = asyncio::LinkedList<Node>;
using test::Numbers;

Numbers numbers_of(const List& list) {
  Numbers numbers;
  for (const Node* node = list.next(); node; node = list.next(node)) numbers.push_back(node->number);
  return numbers;
}

}  // namespace

TEST_CASE("a linked list keeps the order in which its members came", "[linked_list]") {
  List list;
  CHECK(list.empty());
  CHECK(list.next() == nullptr);
  Node a(1), b(2), c(3);
  for (Node* node : {&a, &b, &c}) list.push_back(*node);
  CHECK_FALSE(list.empty());
  CHECK(numbers_of(list) == Numbers{1, 2, 3});
  CHECK(list.next(&c) == nullptr);
}

TEST_CASE("pop_front takes the first member out of a linked list", "[linked_list]") {
  List list;
  Node a(1), b(2);
  list.push_back(a);
  list.push_back(b);
  CHECK(&list.pop_front() == &a);
  CHECK_FALSE(a.linked());
  CHECK(&list.pop_front() == &b);
  CHECK(list.empty());
}

TEST_CASE("a member may leave a linked list wherever it stands, and twice", "[linked_list]") {
  List list;
  Node a(1), b(2), c(3), d(4);
  for (Node* node : {&a, &b, &c, &d}) list.push_back(*node);
  b.unlink();
  CHECK_FALSE(b.linked());
  b.unlink();
  CHECK(numbers_of(list) == Numbers{1, 3, 4});
  a.unlink();
  d.unlink();
  CHECK(numbers_of(list) == Numbers{3});
  c.unlink();
  CHECK(list.empty());
}

TEST_CASE("a member that is pushed again goes to the end", "[linked_list]") {
  List list;
  Node a(1), b(2);
  list.push_back(a);
  list.push_back(b);
  list.push_back(a);
  CHECK(numbers_of(list) == Numbers{2, 1});
  list.push_back(a);
  CHECK(numbers_of(list) == Numbers{2, 1});
}

TEST_CASE("a member that is pushed to another linked list leaves the one it was in", "[linked_list]") {
  List one, other;
  Node a(1), b(2), c(3);
  one.push_back(a);
  one.push_back(b);
  other.push_back(c);
  other.push_back(a);
  CHECK(numbers_of(one) == Numbers{2});
  CHECK(numbers_of(other) == Numbers{3, 1});
}

TEST_CASE("a member that is destroyed leaves its linked list", "[linked_list]") {
  List list;
  Node a(1);
  list.push_back(a);
  {
    Node b(2);
    list.push_back(b);
    CHECK(numbers_of(list) == Numbers{1, 2});
  }
  CHECK(numbers_of(list) == Numbers{1});
}

TEST_CASE("a linked list that is destroyed lets its members go", "[linked_list]") {
  Node a(1), b(2);
  {
    List list;
    list.push_back(a);
    list.push_back(b);
    CHECK(a.linked());
  }
  CHECK_FALSE(a.linked());
  CHECK_FALSE(b.linked());
  List other;
  other.push_back(a);
  CHECK(numbers_of(other) == Numbers{1});
}

TEST_CASE("members may be destroyed in any order", "[linked_list]") {
  List list;
  std::vector<std::unique_ptr<Node>> nodes;
  for (int i = 0; i < 10; ++i) {
    nodes.push_back(std::make_unique<Node>(i));
    list.push_back(*nodes.back());
  }
  for (const std::size_t i : {4, 0, 9, 5}) nodes[i].reset();
  CHECK(numbers_of(list) == Numbers{1, 2, 3, 6, 7, 8});
  nodes.clear();
  CHECK(list.empty());
}
