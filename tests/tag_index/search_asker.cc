#include "tests/tag_index/search_asker.h"

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/base/status_macros.h"
#include "indexer/query/session_search.h"
#include "indexer/store/index_view.h"
#include "indexer/store/session_number.h"
#include "tests/tag_index/local_index.h"
#include "tests/tag_index/question.h"
#include "tests/tag_index/system.h"

namespace diptych::bench {
namespace {

class SearchAsker final : public Asker {
 public:
  explicit SearchAsker(LocalIndex* index) : index_(index) {}

  std::string name() const override { return "search in process"; }

  absl::StatusOr<Answer> Ask(const Question& question) override {
    if (question.kind == Question::Kind::kCountByItem || question.before != 0) {
      return absl::UnimplementedError("a Catalog's work");
    }
    const indexer::IndexView view(index_->store(), &index_->keys());
    Answer answer;
    if (question.kind == Question::Kind::kCountSessions) {
      ASSIGN_OR_RETURN(const indexer::CountResult counted,
                       indexer::CountMatches(view, question.Filter()));
      RETURN_IF_ERROR(CheckComplete(counted.complete));
      answer.push_back(static_cast<RowId>(counted.sessions));
      return answer;
    }
    indexer::SearchOptions options;
    options.limit = question.limit;
    if (question.oldest_first) options.order = indexer::Order::kOldestFirst;
    ASSIGN_OR_RETURN(const indexer::SegmentResults found,
                     indexer::SearchSegments(view, question.Filter(), options));
    RETURN_IF_ERROR(CheckComplete(found.complete));
    for (const indexer::FoundSegment& segment : found.segments) {
      answer.push_back(MakeRowId(segment.session.value(), segment.segment));
    }
    return answer;
  }

 private:
  static absl::Status CheckComplete(bool complete) {
    return complete ? absl::OkStatus()
                    : absl::DataLossError("a search was cut short");
  }

  LocalIndex* const index_;
};

}  // namespace

std::unique_ptr<Asker> NewSearchAsker(LocalIndex* index) {
  return std::make_unique<SearchAsker>(index);
}

}  // namespace diptych::bench
