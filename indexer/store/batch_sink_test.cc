#include "indexer/store/batch_sink.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/string_view.h"
#include "archiver/base/ids.h"
#include "archiver/base/limits.h"
#include "indexer/store/chunk_pack.h"
#include "indexer/store/index_store.h"
#include "indexer/store/keys.h"
#include "indexer/store/posting_block_writer.h"
#include "indexer/store/posting_list.h"
#include "indexer/store/run_set.h"
#include "indexer/store/session_number.h"
#include "proto/stored/v1/index_rows.pb.h"

namespace diptych::indexer {
namespace {

stored::v1::ChunkRow MakeChunk(uint32_t number, uint64_t position) {
  stored::v1::ChunkRow row;
  row.set_chunk(number);
  row.set_position(position);
  return row;
}

TEST(BatchSinkTest, OneChangeABlockAndTheLastWordStands) {
  const PostingList a = {std::string(16, 'a'), kValueBucketBits};
  const PostingList b = {std::string(16, 'b'), kValueBucketBits};
  const SessionNumber early(10, 0);
  const SessionNumber late(20, 1);
  const SessionNumber other_bucket(1 << 30, 0);
  IndexBatch batch;
  BatchSink sink(&batch);
  sink.SetPosting(b, early, RunSet(0, 3));
  sink.SetPosting(a, late, RunSet(0, 0));
  sink.SetPosting(a, early, RunSet(1, 1));
  sink.SetPosting(a, other_bucket, RunSet(0, 0));
  sink.SetPosting(a, late, RunSet());
  sink.Finish();
  std::string last;
  ASSERT_EQ(batch.changes().size(), 3u);
  for (const IndexBatch::Change& change : batch.changes()) {
    EXPECT_TRUE(change.merge);
    EXPECT_LT(last, change.key);
    last = change.key;
    if (change.key != PostingBlockKey(a, 10)) continue;
    const std::vector<PostingEntry> entries = {{early, RunSet(1, 1)},
                                               {late, RunSet()}};
    EXPECT_EQ(change.value, EncodePostingChange(entries));
  }
  EXPECT_EQ(batch.changes().back().key, PostingBlockKey(b, 10));
}

TEST(BatchSinkTest, ChunksOfAGroupGoTogether) {
  const base::Uuid session = base::Uuid::Random();
  IndexBatch batch;
  BatchSink sink(&batch);
  sink.AddChunk(session, MakeChunk(limits::kChunksPerPack, 9));
  sink.AddChunk(session, MakeChunk(3, 5));
  sink.AddChunk(session, MakeChunk(1, 4));
  sink.AddChunk(session, MakeChunk(3, 6));
  sink.Finish();
  ASSERT_EQ(batch.changes().size(), 2u);
  EXPECT_EQ(batch.changes()[0].key, ChunkGroupKey(session, 0));
  EXPECT_EQ(batch.changes()[1].key, ChunkGroupKey(session, 1));
  const std::vector<stored::v1::ChunkRow> first = {MakeChunk(1, 4),
                                                   MakeChunk(3, 6)};
  EXPECT_EQ(batch.changes()[0].value, PackChunks(first));
}

}  // namespace
}  // namespace diptych::indexer
