#include "tests/tag_index/catalog_asker.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "archiver/base/file.h"
#include "archiver/base/grpc_status.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "archiver/base/status_macros.h"
#include "proto/api/v1/catalog.grpc.pb.h"
#include "proto/api/v1/catalog.pb.h"
#include "tests/tag_index/city.h"
#include "tests/tag_index/question.h"
#include "tests/tag_index/system.h"

namespace diptych::bench {
namespace {

template <typename Response>
absl::Status CheckComplete(const Response& response) {
  if (response.complete()) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat("not complete: ", response.incomplete_reason()));
}

class CatalogAsker final : public Asker {
 public:
  CatalogAsker(std::string name, CatalogDoor door,
               const SessionNumbers* numbers)
      : name_(std::move(name)), door_(std::move(door)), numbers_(numbers) {}

  std::string name() const override { return name_; }

  absl::Status Prepare(const Question& question) override {
    if (question.before == 0) return absl::OkStatus();
    ASSIGN_OR_RETURN(const api::v1::ListSegmentsResponse page,
                     List(question, ""));
    token_ = page.next_page_token();
    return absl::OkStatus();
  }

  absl::StatusOr<Answer> Ask(const Question& question) override {
    if (question.kind == Question::Kind::kSegments) {
      ASSIGN_OR_RETURN(const api::v1::ListSegmentsResponse page,
                       List(question, question.before == 0 ? "" : token_));
      return Rows(page);
    }
    api::v1::CountSessionsRequest request;
    request.set_filter(question.Filter());
    const bool by_item = question.kind == Question::Kind::kCountByItem;
    if (by_item) request.set_group_by(std::string(KeyName(Key::kItem)));
    ASSIGN_OR_RETURN(const api::v1::CountSessionsResponse counted,
                     door_.count_sessions(request));
    RETURN_IF_ERROR(CheckComplete(counted));
    if (!by_item) return Answer{static_cast<RowId>(counted.sessions())};
    Answer answer;
    for (const auto& group : counted.groups()) {
      int64_t item = 0;
      if (!absl::SimpleAtoi(group.value(), &item)) {
        return absl::InternalError("an item is no number");
      }
      answer.push_back(item << 32 | static_cast<RowId>(group.sessions()));
    }
    std::sort(answer.begin(), answer.end());
    return answer;
  }

 private:
  absl::StatusOr<api::v1::ListSegmentsResponse> List(const Question& question,
                                                     const std::string& token) {
    api::v1::ListSegmentsRequest request;
    request.set_filter(question.Filter());
    request.set_page_size(static_cast<uint32_t>(question.limit));
    request.set_oldest_first(question.oldest_first);
    request.set_page_token(token);
    ASSIGN_OR_RETURN(api::v1::ListSegmentsResponse page,
                     door_.list_segments(request));
    RETURN_IF_ERROR(CheckComplete(page));
    return page;
  }

  absl::StatusOr<Answer> Rows(const api::v1::ListSegmentsResponse& page) {
    Answer answer;
    for (const auto& segment : page.segments()) {
      ASSIGN_OR_RETURN(const base::Uuid id,
                       base::Uuid::Parse(segment.session_id()));
      const auto known = numbers_->find(id);
      if (known == numbers_->end()) {
        return absl::DataLossError("a session that is not in the city");
      }
      answer.push_back(MakeRowId(known->second, segment.segment()));
    }
    return answer;
  }

  const std::string name_;
  const CatalogDoor door_;
  const SessionNumbers* const numbers_;
  std::string token_;
};

}  // namespace

SessionNumbers NumbersOf(const City& city) {
  SessionNumbers numbers;
  numbers.reserve(city.sessions());
  for (uint64_t place = 0; place < city.sessions(); ++place) {
    const CitySession session = city.Session(place);
    numbers[session.id] = session.number;
  }
  return numbers;
}

std::unique_ptr<Asker> NewCatalogAsker(std::string name, CatalogDoor door,
                                       const SessionNumbers* numbers) {
  return std::make_unique<CatalogAsker>(std::move(name), std::move(door),
                                        numbers);
}

absl::StatusOr<CatalogDoor> OpenRemoteCatalog(const std::string& data_folder) {
  const std::string profile = absl::StrCat(data_folder, "/profiles/auditor/");
  grpc::SslCredentialsOptions tls;
  ASSIGN_OR_RETURN(
      tls.pem_root_certs,
      base::ReadWholeFile(profile + "ca.crt", limits::kMaxPemFile_bytes));
  ASSIGN_OR_RETURN(
      tls.pem_cert_chain,
      base::ReadWholeFile(profile + "client.crt", limits::kMaxPemFile_bytes));
  ASSIGN_OR_RETURN(
      tls.pem_private_key,
      base::ReadWholeFile(profile + "client.key", limits::kMaxPemFile_bytes));
  ASSIGN_OR_RETURN(
      const std::string address,
      base::ReadWholeFile(absl::StrCat(data_folder, "/run/audit.address"),
                          limits::kMaxAddressFile_bytes));
  const std::shared_ptr<api::v1::Catalog::Stub> stub =
      api::v1::Catalog::NewStub(
          grpc::CreateChannel(std::string(absl::StripAsciiWhitespace(address)),
                              grpc::SslCredentials(tls)));
  CatalogDoor door;
  door.list_segments = [stub](const api::v1::ListSegmentsRequest& request)
      -> absl::StatusOr<api::v1::ListSegmentsResponse> {
    grpc::ClientContext context;
    api::v1::ListSegmentsResponse response;
    RETURN_IF_ERROR(
        base::FromGrpcStatus(stub->ListSegments(&context, request, &response)));
    return response;
  };
  door.list_sessions = [stub](const api::v1::ListSessionsRequest& request)
      -> absl::StatusOr<api::v1::ListSessionsResponse> {
    grpc::ClientContext context;
    api::v1::ListSessionsResponse response;
    RETURN_IF_ERROR(
        base::FromGrpcStatus(stub->ListSessions(&context, request, &response)));
    return response;
  };
  door.count_sessions = [stub](const api::v1::CountSessionsRequest& request)
      -> absl::StatusOr<api::v1::CountSessionsResponse> {
    grpc::ClientContext context;
    api::v1::CountSessionsResponse response;
    RETURN_IF_ERROR(base::FromGrpcStatus(
        stub->CountSessions(&context, request, &response)));
    return response;
  };
  return door;
}

}  // namespace diptych::bench
