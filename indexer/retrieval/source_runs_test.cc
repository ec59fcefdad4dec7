#include "indexer/retrieval/source_runs.h"

#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "archiver/evidence/merkle.h"

namespace diptych::indexer {
namespace {

std::string HashOf(uint64_t sequence) {
  return evidence::LeafHash(std::to_string(sequence));
}

// Statements of a track that has every second number of its side.
SignedRun Statement(log::Position record, uint64_t first, uint64_t last) {
  SignedRun run;
  run.record = record;
  run.first_sequence = first;
  run.last_sequence = last;
  std::vector<std::string> hashes;
  for (uint64_t s = first + first % 2; s <= last; s += 2) {
    hashes.push_back(HashOf(s));
  }
  run.packets = hashes.size();
  run.root = evidence::RootOf(hashes);
  return run;
}

std::vector<SourceRun> RunsOf(const std::vector<SignedRun>& statements,
                              uint64_t first, uint64_t last, uint64_t begin,
                              uint64_t end) {
  SourceRuns runs(statements);
  uint64_t added = 0;
  for (uint64_t s = first; s <= last; s += 2) {
    runs.Add(s, HashOf(s));
    ++added;
    if (added > begin) runs.Include(begin, std::min(added, end));
  }
  return runs.Finish();
}

TEST(SourceRunsTest, WholeStatementsNeedNoOtherHashes) {
  const auto runs =
      RunsOf({Statement(70, 1, 20), Statement(80, 21, 40)}, 2, 40, 0, 20);
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_EQ(runs[0].record, 70u);
  EXPECT_EQ(runs[0].packets, 10u);
  EXPECT_TRUE(runs[0].others.empty());
  EXPECT_EQ(runs[1].record, 80u);
  EXPECT_EQ(runs[1].first, 0u);
}

TEST(SourceRunsTest, PartsAreProvenByTheRest) {
  const std::vector<SignedRun> statements = {Statement(70, 1, 20),
                                             Statement(80, 21, 40)};
  // Packets 8 to 24: the last seven of the first, two of the second.
  const auto runs = RunsOf(statements, 2, 40, 3, 12);
  ASSERT_EQ(runs.size(), 2u);
  uint64_t sequence = 8;
  for (size_t i = 0; i < 2; ++i) {
    std::vector<std::string> leaves;
    for (uint64_t n = 0; n < runs[i].packets; ++n, sequence += 2) {
      leaves.push_back(HashOf(sequence));
    }
    const auto root = evidence::RootFromRange(
        statements[i].packets, runs[i].first, leaves, runs[i].others);
    ASSERT_TRUE(root.ok()) << root.status();
    EXPECT_EQ(*root, statements[i].root);
  }
  EXPECT_EQ(sequence, 26u);
}

TEST(SourceRunsTest, WhatNobodySignedIsOneRunWithoutARecord) {
  const auto runs = RunsOf({Statement(70, 11, 20)}, 2, 40, 0, 20);
  ASSERT_EQ(runs.size(), 3u);
  EXPECT_FALSE(runs[0].record.has_value());
  EXPECT_EQ(runs[0].packets, 5u);
  EXPECT_EQ(runs[1].record, 70u);
  EXPECT_FALSE(runs[2].record.has_value());
  EXPECT_EQ(runs[2].packets, 10u);
}

TEST(SourceRunsTest, AFalseStatementSignsNothing) {
  SignedRun other = Statement(70, 1, 20);
  other.root = evidence::RootOf({HashOf(1)});
  SignedRun more = Statement(80, 21, 40);
  ++more.packets;
  const auto runs = RunsOf({other, more}, 2, 40, 0, 20);
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_FALSE(runs[0].record.has_value());
  EXPECT_EQ(runs[0].packets, 20u);
}

}  // namespace
}  // namespace diptych::indexer
