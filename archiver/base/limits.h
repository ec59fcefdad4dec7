#ifndef ARCHIVER_BASE_LIMITS_H_
#define ARCHIVER_BASE_LIMITS_H_

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

// Every bound of every queue, buffer, loop and wait, in one place.
namespace diptych::limits {

// ---- What is cut when (ARCHITECTURE.md, "Words") ----
inline constexpr int64_t kChunkMax_us = 1'000'000;
inline constexpr size_t kChunkMaxPayload_bytes = 1 << 20;
inline constexpr size_t kChunkMaxPackets = 8192;
inline constexpr int64_t kSegmentMax_us = 10'000'000;
// Keeps a manifest small even if a clock stands still.
inline constexpr int kSegmentMaxChunks = 1000;
// A packet that waited this long for the other side goes out without it.
inline constexpr int64_t kReorderWindow_us = 1'000'000;
// A side that gives nothing for longer has a gap.
inline constexpr int64_t kGapThreshold_us = 1'000'000;
// The same where the side's stream broke: less may be between two packets.
inline constexpr int64_t kBreakGap_us = 250'000;
// How far reordering may put pts after dts.
inline constexpr int64_t kMaxReorder_us = 16'000'000;
// Session times: pts at most ten days from the session's start.
inline constexpr int64_t kSessionMax_us = int64_t{10} * 24 * 3600 * 1'000'000;

// ---- Clocks ----
// An anchor that disagrees with a track's mapping by more is a jump.
inline constexpr int64_t kClockJump_us = 500'000;
// The mapping follows drift no faster than this, to either side.
inline constexpr int64_t kMaxDrift_ppb = 500'000;
// Disagreement below this, or below the anchor's own uncertainty, is noise.
inline constexpr int64_t kClockNoise_us = 2'000;
// Over what time a disagreement is worked off.
inline constexpr int64_t kClockHorizon_us = 30'000'000;
// Anchors that a track's estimate rests on.
inline constexpr size_t kClockAnchors = 16;
// A clock whose first anchor disagrees by more does not tell the time of day:
// only its pace counts.
inline constexpr int64_t kTrustedWallClock_us = 2'000'000;
// A source of anchors that is silent for so long gives way to one that is less
// certain.
inline constexpr int64_t kAnchorSourceSilence_us = 30'000'000;
// Changes of one session's mappings that are recorded; after that they stand.
inline constexpr size_t kMaxClockChanges = 20'000;

// ---- Ingest ----
inline constexpr int kMaxMessage_bytes = 4 << 20;
inline constexpr size_t kMaxPacket_bytes = 2 << 20;
inline constexpr size_t kMaxPacketsPerMessage = 4096;
inline constexpr size_t kMaxNotesPerMessage = 1024;
inline constexpr uint32_t kMaxTrackId = 32;
inline constexpr size_t kMaxTracksPerSide = 8;
inline constexpr size_t kMaxCodecConfig_bytes = 64 << 10;
inline constexpr size_t kMaxTagKey_bytes = 63;
inline constexpr size_t kMaxTagValue_bytes = 256;
inline constexpr size_t kMaxTagValuesPerUpdate = 64;
inline constexpr size_t kMaxEventAttributes = 32;
inline constexpr size_t kMaxEventAttributeValue_bytes = 4096;
inline constexpr size_t kMaxAttachmentPart_bytes = 512 << 10;
inline constexpr uint64_t kMaxAttachment_bytes = 64 << 20;
inline constexpr uint32_t kMaxSpansPerSession = 10'000;
// After so many a clock that jumps gets no span of its own any more.
inline constexpr uint32_t kMaxSpansOfJumps = kMaxSpansPerSession / 2;
inline constexpr uint32_t kMaxSegmentsPerSession = 1'000'000;
inline constexpr size_t kMaxOpenSessions = 8192;
inline constexpr uint64_t kMaxNotesPerSide = 100'000;
inline constexpr size_t kMaxAttachmentsPerSession = 4096;
// How often open sessions are looked at for chunks that are due.
inline constexpr absl::Duration kTick = absl::Milliseconds(50);
// A gateway's name in its certificate.
inline constexpr size_t kMaxPrincipalName_bytes = 128;
// Packets whose hash is remembered, so that a number used twice is noticed.
inline constexpr size_t kReplayWindow_packets = 1024;
// Received and not yet durable: per session, and over all sessions. A stream
// over either is not read from until it is under again.
inline constexpr size_t kMaxUndurablePerSession_bytes = 8 << 20;
inline constexpr size_t kMaxUndurable_bytes = size_t{256} << 20;
// New sessions are refused above this; what is left is for the open ones.
inline constexpr size_t kAdmissionUndurable_bytes = size_t{160} << 20;
// What a refused gateway is told to wait before it asks again.
inline constexpr absl::Duration kRefusedRetryAfter = absl::Seconds(2);
// A session over this much is asked to slow down, for so long and not oftener.
inline constexpr size_t kSlowDownAbove_bytes = 4 << 20;
inline constexpr absl::Duration kSlowDownPause = absl::Milliseconds(250);
inline constexpr absl::Duration kSlowDownEvery = absl::Seconds(1);
// A side that gives nothing for this long degrades its session; with the tick
// and a commit it is said within 5 s.
inline constexpr absl::Duration kSideStalled = absl::Seconds(4);
// After the log took no record about sessions that nobody came back for.
inline constexpr absl::Duration kOrphanRetry = absl::Minutes(1);
// Key frames and slower sending asked for, to a gateway that does not read.
inline constexpr size_t kMaxQueuedResponses = 64;
// Sets of tracks of a session that are remembered, so that one that returns
// needs no new span.
inline constexpr size_t kRememberedSpans = 16;
// A session without data for this long is closed as abandoned.
inline constexpr absl::Duration kAbandonAfter = absl::Minutes(15);
inline constexpr absl::Duration kDrainTimeout = absl::Seconds(20);

// Threads of one server that calls may occupy at once.
inline constexpr int kMaxServerThreads = 256;

// ---- The log ----
inline constexpr size_t kMaxRecordHeader_bytes = 1 << 20;
inline constexpr size_t kMaxRecordBody_bytes = 8 << 20;
inline constexpr uint64_t kVolumeMax_bytes = uint64_t{256} << 20;
inline constexpr size_t kCommitQueue_bytes = size_t{512} << 20;
inline constexpr size_t kCommitItem_bytes = 512;
inline constexpr size_t kCommitBatch_bytes = 8 << 20;
// What a scan reads at a time, and how far a record is read ahead unasked.
inline constexpr size_t kScanBlock_bytes = 1 << 20;
inline constexpr size_t kReadAhead_bytes = 4 << 10;
inline constexpr size_t kSnapshotClosedSessions = 4096;
// Names that are tried for a torn tail that is moved aside.
inline constexpr int kMaxAsideNames = 100;
// Space is taken ahead in such steps, so that a full disk is met before
// anything is written.
inline constexpr uint64_t kReserveStep_bytes = 8 << 20;
// Under this much free space the log takes no more of it: the system and the
// index may be on the same disk.
inline constexpr uint64_t kDiskFloor_bytes = 16 << 20;
// New sessions are refused under this much free space, or a tenth of the disk
// if that is less; what is left is for the open ones.
inline constexpr uint64_t kDiskReserve_bytes = uint64_t{1} << 30;
inline constexpr uint64_t kDiskReserveShare = 10;
// For so long the answer to how much space is left is used again.
inline constexpr absl::Duration kSpaceCheck = absl::Milliseconds(200);
// With a full disk the log tries again this often.
inline constexpr absl::Duration kNoSpaceRetry = absl::Milliseconds(200);
// A write or a sync that takes longer is stuck: that is said, and noticed this
// often.
inline constexpr absl::Duration kCommitStuck = absl::Seconds(5);
inline constexpr absl::Duration kHealthCheck = absl::Milliseconds(500);

// ---- Evidence ----
// With news, a checkpoint is signed this often.
inline constexpr absl::Duration kCheckpointEvery = absl::Milliseconds(500);
// Records of a session that wait for a manifest to name them, 32 bytes each:
// with so many its segment ends, and without media to end, no more notes are
// taken. What one chunk can bring beside them still fits into a header.
inline constexpr size_t kMaxUnnamedRecords = 8192;
// Leaves that wait for the next checkpoint in memory; beyond it they are read
// from the log again.
inline constexpr size_t kTreeQueue_leaves = 65'536;
// After an error of its disk the tree tries again.
inline constexpr absl::Duration kTreeRetry = absl::Seconds(1);
// A receipt waits so long for a checkpoint that proves it, and then goes
// without.
inline constexpr absl::Duration kReceiptProofWait = absl::Seconds(5);
// Receipts that wait for their proof at once.
inline constexpr size_t kMaxProofWaiters = 16'384;
// A call that waits for a checkpoint.
inline constexpr absl::Duration kCheckpointWait = absl::Seconds(10);
inline constexpr size_t kMaxCheckpoint_bytes = 64 << 10;
inline constexpr size_t kMaxWitnesses = 16;
inline constexpr size_t kMaxTimestamp_bytes = 64 << 10;
inline constexpr size_t kMaxTimestamps = 1000;
// Signatures of one note, and hashes of one proof: a tree of 2^64 leaves needs
// no more.
inline constexpr size_t kMaxNoteSignatures = 64;
inline constexpr size_t kMaxProofHashes = 65;
// Tiles that one walk over the tree keeps at hand.
inline constexpr size_t kTileCache_tiles = 256;
// Somebody who is not told of new checkpoints looks for them this often.
inline constexpr absl::Duration kCheckpointPoll = absl::Milliseconds(50);
// A time stamping authority has so long to answer.
inline constexpr absl::Duration kTimestampTimeout = absl::Seconds(30);
// How long a cosigned checkpoint holds its place against a later one that fewer
// witnesses have signed.
inline constexpr absl::Duration kWitnessesWait = absl::Seconds(10);
// Calls of one server that wait for a checkpoint at once.
inline constexpr int kMaxCheckpointWaiters = 32;
// A gateway signs what it sent of a track this often.
inline constexpr absl::Duration kSourceDigestEvery = absl::Seconds(10);
// Packets of one statement, and of one track whose hashes the archive keeps
// until they are signed.
inline constexpr size_t kMaxSourceRun_packets = 8192;
// Session time after which hashes that nobody has signed are let go.
inline constexpr int64_t kUnsignedHashes_us = 30'000'000;
// A bundle's evidence, checkpoint and proofs, as a verifier takes them.
inline constexpr size_t kMaxEvidenceFile_bytes = size_t{256} << 20;
inline constexpr size_t kMaxBundleFiles = 100'000;
inline constexpr size_t kMaxBundlePath_bytes = 1024;
// A bundle waits so long for cosignatures of the checkpoint that proves it, if
// the archive has witnesses.
inline constexpr absl::Duration kCosignatureWait = absl::Seconds(2);
// How often whoever waits for a checkpoint or the index looks again.
inline constexpr absl::Duration kBundlePoll = absl::Milliseconds(20);
// Manifests that a bundle names for the chain alone, to save a proof.
inline constexpr size_t kMaxBundleHole_manifests = 2;
inline constexpr size_t kMaxBundleAnchors = 8;
inline constexpr size_t kMaxReceipt_bytes = 1 << 20;
inline constexpr size_t kMaxPublicKeys_bytes = 4 << 20;
// What a verifier takes of a bundle: JSON values and how deep they lie in one
// another, packets of one track and of all, packets that no player plays.
inline constexpr size_t kMaxEvidenceValues = 8'000'000;
inline constexpr size_t kMaxEvidenceDepth = 16;
inline constexpr uint64_t kMaxTrackPackets = 64'000'000;
inline constexpr uint64_t kMaxBundlePackets = 128'000'000;
inline constexpr size_t kMaxBoundaryPackets = 1'000'000;
inline constexpr size_t kVerifyRead_bytes = 1 << 20;
// One allocation of libav while it reads a file that nobody vouches for yet.
inline constexpr size_t kMaxLibavAllocation_bytes = size_t{512} << 20;
// Rows of one table of a custody report, and statements of a verifier.
inline constexpr size_t kMaxReportRows = 20'000;
inline constexpr size_t kMaxReport_bytes = 64 << 20;
inline constexpr size_t kMaxStatements = 2'000;
// What `check` has read of a store and not yet looked at, and who hashes it.
inline constexpr size_t kCheckQueue_bytes = 64 << 20;
inline constexpr int kMaxCheckThreads = 16;
// Records that came so shortly before the log's end may lack a checkpoint.
inline constexpr absl::Duration kCheckpointLag = absl::Seconds(10);
// Tiles that were not full when they were written and are still there.
inline constexpr size_t kMaxPartialTiles = 10'000;
inline constexpr size_t kMaxOutsideCheckpoints = 64;

// ---- Keys ----
// Locked memory for secrets, in steps; each secret takes 32 bytes of it.
inline constexpr size_t kLockedMemoryStep_bytes = 256 << 10;
inline constexpr size_t kMaxLockedMemory_bytes = 64 << 20;
inline constexpr size_t kMaxRecipients = 64;
inline constexpr size_t kMaxKeyFile_bytes = 64 << 10;
// A command that gives a key or a passphrase.
inline constexpr absl::Duration kKeyCommandTimeout = absl::Seconds(60);
// Sessions whose keys one KeysChanged record names.
inline constexpr size_t kRewrapsPerRecord = 1000;

// ---- Index and queries ----
inline constexpr size_t kMaxFilter_bytes = 8192;
inline constexpr int kMaxFilterDepth = 32;
inline constexpr size_t kMaxFilterTerms = 128;
inline constexpr uint32_t kDefaultPageSize = 50;
inline constexpr uint32_t kMaxPageSize = 1000;
inline constexpr size_t kMaxPageToken_bytes = 512;
// A page ends early rather than outgrow what clients take.
inline constexpr size_t kMaxPage_bytes = 2 << 20;
// A page can be asked for as long after the first one.
inline constexpr absl::Duration kPageLifetime = absl::Hours(1);
// What a page token needs is kept somewhat longer.
inline constexpr absl::Duration kChangesKept = absl::Hours(2);
// Sessions that have changed since a first page and that a later one looks at
// one by one.
inline constexpr size_t kMaxPageChanges = 50'000;
inline constexpr size_t kMaxDictionaryValues = 1000;
// Tag keys whose values the index keeps at hand while it builds.
inline constexpr size_t kMaxDictionaryKeys = 1000;
inline constexpr int64_t kRunMax_us = int64_t{300} * 1'000'000;
// What comes after them is in the last one.
inline constexpr size_t kMaxRunsPerSession = 65'536;
// Pairs of a clerk and an item of one run; see indexer/store/posting_list.h.
inline constexpr size_t kMaxPairsPerRun = 64;
inline constexpr int kMaxPastStates = 64;
// Rows that are packed into one.
inline constexpr uint32_t kSegmentsPerPack = 32;
inline constexpr uint32_t kRunsPerPack = 64;
inline constexpr uint32_t kChunksPerPack = 64;
// Entries of a posting block between two skip points.
inline constexpr uint32_t kPostingSkip_entries = 64;
// Changes to one row of the index that wait in memory to be merged.
inline constexpr size_t kMaxWaitingMerges = 8;
inline constexpr size_t kMaxGroups = 10'000;
// Matching sessions that one summary holds at a time.
inline constexpr size_t kMatchesAtOnce = 500'000;
// How far back the key frame is looked for that a segment's playing begins
// with.
inline constexpr int64_t kMaxLookBack_us = int64_t{60} * 1'000'000;
inline constexpr int kMaxSummaryKeys = 16;
inline constexpr uint32_t kDefaultSummaryValues = 10;
// Posting lists that one query may walk at once.
inline constexpr size_t kMaxQueryPostings = 2000;
// What one query may cost: entries of posting lists (a block counts as 64), a
// session's row as many as this. Some seconds; enough to ask each session of a
// year for its end.
inline constexpr uint64_t kMaxQueryCost = 50'000'000;
inline constexpr uint64_t kQueryCostOfRow = 100;
// How long a query waits for the index to reach the log's end.
inline constexpr absl::Duration kQueryFreshnessWait = absl::Milliseconds(200);
// A query looks for its caller's cancellation this often.
inline constexpr size_t kQueryStepsPerCheck = 1024;
inline constexpr int kIndexOpenFiles = 1024;
inline constexpr size_t kIndexWal_bytes = size_t{256} << 20;
inline constexpr size_t kIndexWriteBuffer_bytes = size_t{32} << 20;
inline constexpr size_t kIndexBlockCache_bytes = size_t{256} << 20;
// What the index takes from the log before it writes.
inline constexpr size_t kIndexBatch_records = 2048;
inline constexpr size_t kIndexBatch_bytes = 8 << 20;
// Sessions and their keys that the index keeps at hand.
inline constexpr size_t kIndexSessionCache = 4096;
// Rows of changes that are deleted with one batch, once they are old.
inline constexpr size_t kTrimmedPerBatch = 16;
// Moments at which the log grew, until the index is there.
inline constexpr size_t kMaxLagMarks = 1024;
inline constexpr size_t kIndexOpenerCache = 4096;
// Values over all tag updates of a session; later ones are counted as refused.
inline constexpr size_t kMaxTagValuesPerSession = 10'000;
inline constexpr int kMaxNoteRanges = 64;
inline constexpr int kMaxRememberedDamages = 100;
// After a failed write the index tries again, waiting longer each time.
inline constexpr absl::Duration kIndexRetryFirst = absl::Milliseconds(100);
inline constexpr absl::Duration kIndexRetryMax = absl::Seconds(30);

// ---- Rebuilding the index ----
inline constexpr size_t kRebuildWorkers = 2;
// Records that wait for one worker, and their bytes.
inline constexpr size_t kRebuildQueue_records = 16'384;
inline constexpr size_t kRebuildQueue_bytes = size_t{16} << 20;
// What one sorter holds before it writes a sorted file.
inline constexpr size_t kRebuildSort_bytes = size_t{64} << 20;
// Sorted files that are merged at once.
inline constexpr size_t kRebuildMaxMerge_files = 256;
// Open sessions that a worker holds; over it the longest unused one is written
// as it stands and finished once the rest is in.
inline constexpr size_t kRebuildSessions = 32'768;
// How much of the log lies between two points to resume from.
inline constexpr uint64_t kRebuildCheckpoint_bytes = uint64_t{4} << 30;
inline constexpr size_t kRebuildSst_bytes = size_t{64} << 20;

// A request to the reader: a filter and little else.
inline constexpr int kMaxQueryMessage_bytes = 64 << 10;

// ---- Reading ----
inline constexpr size_t kReadData_bytes = 256 << 10;
inline constexpr size_t kMaxPurpose_bytes = 1024;
inline constexpr size_t kMaxSealedAccess_bytes = 64 << 10;
inline constexpr absl::Duration kAccessRecordTimeout = absl::Seconds(10);
// Packets that wait for one that may come before them, in a chunk not yet read.
// Over it the earliest goes out as it is.
inline constexpr size_t kMaxHeldWhileReading_bytes = 64 << 20;
// Streams of one exported file: tracks, and tracks whose parameters changed.
inline constexpr size_t kMaxOutputTracks = 64;
// An MP4's index is made in memory, some 100 bytes a packet.
inline constexpr uint64_t kMaxMp4Packets = 4'000'000;
inline constexpr size_t kMaxMp4Index_bytes = size_t{256} << 20;

// ---- Command line and small files ----
inline constexpr size_t kMaxPassphrase_bytes = 1000;
// What `check` finds beyond these is only counted.
inline constexpr uint64_t kMaxShownFindings = 1000;
inline constexpr absl::Duration kClientCallTimeout = absl::Seconds(60);
// Sessions or segments that one command prints or exports.
inline constexpr uint64_t kMaxResultRows = 1'000'000;
inline constexpr size_t kMaxPemFile_bytes = 64 << 10;
inline constexpr size_t kMaxProfileFile_bytes = 64 << 10;
inline constexpr size_t kMaxAddressFile_bytes = 512;

// ---- The gateway ----
// Sent and not yet durable, over both sides, in memory.
inline constexpr size_t kGatewayBuffer_bytes = 64 << 20;
inline constexpr size_t kBatchMax_bytes = 64 << 10;
inline constexpr absl::Duration kBatchMax = absl::Milliseconds(250);
// Tag notes that are said again after a break.
inline constexpr size_t kMaxTagNotes = 4096;
inline constexpr absl::Duration kReconnectMin = absl::Milliseconds(100);
inline constexpr absl::Duration kReconnectMax = absl::Seconds(5);
inline constexpr absl::Duration kFirstConnectTimeout = absl::Seconds(10);
inline constexpr absl::Duration kReconnectTimeout = absl::Minutes(3);
// What is left to send at the end, and the receipt.
inline constexpr absl::Duration kCloseTimeout = absl::Minutes(5);
// A server's SlowDown holds the gateway for no longer than this.
inline constexpr absl::Duration kSlowDownMax = absl::Seconds(10);
// No answer at all for this long while data is out: the stream is given up.
inline constexpr absl::Duration kStreamStall = absl::Seconds(10);
// An archive's wish to wait before the next attempt counts up to this.
inline constexpr absl::Duration kRetryAfterMax = absl::Minutes(1);
// A live track's clock is told at least this often.
inline constexpr absl::Duration kAnchorEvery = absl::Seconds(10);
// A sender's clock that moved by more is told again, but not sooner than this
// after the last time, unless it jumped.
inline constexpr absl::Duration kSenderClockMoved = absl::Milliseconds(1);
inline constexpr absl::Duration kSenderAnchorNotBefore = absl::Seconds(1);
// What is not durable by then goes to the spool; most is durable after 1.3 s.
inline constexpr absl::Duration kSpoolAfter = absl::Milliseconds(1500);
// How often the spool's thread looks, at least; and how often it syncs.
inline constexpr absl::Duration kSpoolTick = absl::Milliseconds(100);
inline constexpr absl::Duration kSpoolSync = absl::Milliseconds(500);
// After an error of its disk the spool tries again.
inline constexpr absl::Duration kSpoolRetry = absl::Seconds(1);
inline constexpr uint64_t kSpoolMax_bytes = uint64_t{16} << 30;
inline constexpr uint64_t kSpoolFile_bytes = 32 << 20;
inline constexpr size_t kSpoolBlock_bytes = 256 << 10;
inline constexpr size_t kMaxSpoolBlock_bytes = 8 << 20;
inline constexpr size_t kSpoolWrite_bytes = 4 << 20;
inline constexpr size_t kSpoolRead_bytes = 2 << 20;
// A renumbering that can't be written holds a stream up no longer than this.
inline constexpr absl::Duration kSpoolRenumber = absl::Seconds(5);
// Looked at before the first packet is handed out, to place time zero.
inline constexpr size_t kProbe_packets = 50;
// Pictures that a decoder may hold back, and so how far order is looked for.
inline constexpr size_t kMaxPictureReorder = 17;
// Packets that wait for their time while another one's is looked for.
inline constexpr size_t kMaxPending_packets = 4096;
inline constexpr int kMaxReadErrors = 16;
inline constexpr size_t kMaxProblems = 200;
inline constexpr size_t kMaxParameterSets = 64;
inline constexpr size_t kSourceQueue_packets = 256;
inline constexpr size_t kSourceQueue_bytes = 16 << 20;
inline constexpr size_t kPushAttachmentPart_bytes = 256 << 10;
inline constexpr absl::Duration kOpenInputTimeout = absl::Seconds(20);
// A live source that says nothing for this long has ended.
inline constexpr absl::Duration kLiveSilence = absl::Seconds(15);

// ---- The load generator ----
inline constexpr size_t kLoadSessions = 10'000;
inline constexpr int kLoadChannels = 256;
// A recording is held in memory.
inline constexpr size_t kLoadRecording_bytes = size_t{512} << 20;
// Streams are looked at this often for what has become due.
inline constexpr absl::Duration kLoadTick = absl::Milliseconds(10);
// A channel that failed is not made anew oftener.
inline constexpr absl::Duration kLoadChannelRenewal = absl::Milliseconds(100);
// Messages sent and not durable whose times are remembered, a side; those of
// more are sent and checked, and not timed.
inline constexpr size_t kLoadTimedMessages = 4096;
inline constexpr size_t kLoadShownProblems = 50;

}  // namespace diptych::limits

#endif  // ARCHIVER_BASE_LIMITS_H_
