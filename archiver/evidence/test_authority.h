#ifndef ARCHIVER_EVIDENCE_TEST_AUTHORITY_H_
#define ARCHIVER_EVIDENCE_TEST_AUTHORITY_H_

#include <memory>
#include <string>

#include "absl/strings/string_view.h"

namespace diptych::evidence {

// A time stamping authority for tests: its own root, and what `openssl ts
// -reply` does.
class TestAuthority {
 public:
  TestAuthority();
  ~TestAuthority();

  // Its certificate, PEM.
  std::string ca_pem() const;

  // A TimeStampResp to a TimeStampReq, both DER. With another digest than
  // SHA-256 asked for it refuses, as a response that says so.
  std::string Answer(absl::string_view request) const;

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

}  // namespace diptych::evidence

#endif  // ARCHIVER_EVIDENCE_TEST_AUTHORITY_H_
