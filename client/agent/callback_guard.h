#pragma once

#include <memory>
#include <utility>

namespace fedgraft {

// Makes callbacks that do nothing once their owner is gone or has moved on.
// Single-strand: guarded callbacks run on the owner's strand.
class CallbackGuard {
 public:
  CallbackGuard() : token_(std::make_shared<char>()) {}
  CallbackGuard(const CallbackGuard&) = delete;
  CallbackGuard& operator=(const CallbackGuard&) = delete;

  // From now on, callbacks made earlier do nothing.
  void Invalidate() { token_ = std::make_shared<char>(); }
  // Expires with the guard or at Invalidate.
  std::weak_ptr<char> token() const { return token_; }

  // `callback` returns nothing.
  template <typename Callback>
  auto operator()(Callback callback) const {
    return [token = token(),
            callback = std::move(callback)](auto&&... arguments) mutable {
      if (!token.expired()) {
        callback(std::forward<decltype(arguments)>(arguments)...);
      }
    };
  }

 private:
  std::shared_ptr<char> token_;
};

}  // namespace fedgraft
