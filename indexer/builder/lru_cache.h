#ifndef INDEXER_BUILDER_LRU_CACHE_H_
#define INDEXER_BUILDER_LRU_CACHE_H_

#include <cstddef>
#include <list>
#include <map>
#include <utility>

namespace diptych::indexer {

// Keeps what was used last. Shrinks only when told, so that pointers into it
// stay good until then. Not thread-safe.
template <typename Key, typename Value>
class LruCache {
 public:
  // nullptr if it is not there; otherwise it now counts as used.
  Value* Find(const Key& key) {
    const auto found = by_key_.find(key);
    if (found == by_key_.end()) return nullptr;
    order_.splice(order_.begin(), order_, found->second);
    return &found->second->second;
  }

  // REQUIRES: the key is not there.
  Value* Insert(const Key& key, Value value) {
    order_.emplace_front(key, std::move(value));
    by_key_[key] = order_.begin();
    return &order_.front().second;
  }

  void Erase(const Key& key) {
    const auto found = by_key_.find(key);
    if (found == by_key_.end()) return;
    order_.erase(found->second);
    by_key_.erase(found);
  }

  void ShrinkTo(size_t entries) {
    while (order_.size() > entries) {
      by_key_.erase(order_.back().first);
      order_.pop_back();
    }
  }

  size_t size() const { return order_.size(); }

  // What was used longest ago; nullptr if there is nothing.
  const std::pair<Key, Value>* Oldest() const {
    return order_.empty() ? nullptr : &order_.back();
  }

  // Calls it with each key and value.
  template <typename Visitor>
  void ForEach(const Visitor& visit) const {
    for (const auto& [key, value] : order_) visit(key, value);
  }

 private:
  std::list<std::pair<Key, Value>> order_;
  std::map<Key, typename std::list<std::pair<Key, Value>>::iterator> by_key_;
};

}  // namespace diptych::indexer

#endif  // INDEXER_BUILDER_LRU_CACHE_H_
