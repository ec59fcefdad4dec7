#ifndef TOOLS_DIPTYCH_CHECK_STATEMENT_CHECK_H_
#define TOOLS_DIPTYCH_CHECK_STATEMENT_CHECK_H_

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>

#include "archiver/base/ids.h"
#include "archiver/log/record.h"
#include "proto/stored/v1/keys.pb.h"
#include "proto/stored/v1/records.pb.h"
#include "tools/diptych/check/manifest_check.h"
#include "tools/diptych/check/seal_check.h"

namespace diptych::check {

// Holds what a session's gateway signed against its keys, against what was
// signed before, and, where chunks were opened, against the packets themselves.
// What is unsigned is no error, but is told. Not thread-safe.
class StatementCheck {
 public:
  // `archive` must outlive this. `on_remark` takes what is not wrong.
  StatementCheck(const stored::v1::ArchiveConfig* archive,
                 const base::Uuid& session_id, FalseThing on_false,
                 FalseThing on_remark);

  void Statement(log::Position position,
                 const stored::v1::SourceDigest& header);
  // A chunk of the session, in order; `contents` is null if it was not opened.
  void Chunk(const stored::v1::Chunk& header, const ChunkContents* contents);
  // The session is over.
  void Closed(log::Position position);
  // A snapshot's word for what came before, where that is lost.
  void Adopt(const stored::v1::OpenSession& stored);

  // False if nothing at all was signed.
  bool any() const { return any_; }
  // Statements whose packets were hashed and are those that were signed.
  uint64_t proven() const { return proven_; }

 private:
  struct Pending {
    log::Position position = 0;
    stored::v1::SourceStatement statement;
  };
  struct Packet {
    uint64_t sequence = 0;
    std::string leaf_hash;
  };
  struct Track {
    // Up to which packet its statements go without a hole.
    uint64_t signed_to = 0;
    bool has_statement = false;
    // The last chunk that has packets of it.
    uint64_t last_chunk_first_sequence = 0;
    int64_t last_chunk_start_us = 0;
    int64_t last_chunk_end_us = 0;
    // Not yet compared with a statement; at most
    // limits::kMaxSourceRun_packets.
    std::deque<Packet> packets;
    // Packets up to this one are not at hand.
    uint64_t forgotten_to = 0;
    // Statements whose packets have not all come.
    std::deque<Pending> pending;
  };
  struct Side {
    uint64_t last_sequence = 0;
    // All packets after this one were opened.
    uint64_t unread_to = 0;
  };

  void CheckSignature(log::Position position,
                      const stored::v1::SourceDigest& header) const;
  // False if it can't be.
  bool CheckOrder(log::Position position,
                  const stored::v1::SourceStatement& statement, Track* track);
  // Compares those whose packets are all there.
  void Settle(int side, Track* track);

  const stored::v1::ArchiveConfig* const archive_;
  // The 16 bytes of its id.
  const std::string session_;
  const FalseThing on_false_;
  const FalseThing on_remark_;
  bool any_ = false;
  uint64_t proven_ = 0;
  std::map<int, Side> sides_;
  // By side and track.
  std::map<std::pair<int, uint32_t>, Track> tracks_;
};

}  // namespace diptych::check

#endif  // TOOLS_DIPTYCH_CHECK_STATEMENT_CHECK_H_
