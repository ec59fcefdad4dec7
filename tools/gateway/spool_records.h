#ifndef TOOLS_GATEWAY_SPOOL_RECORDS_H_
#define TOOLS_GATEWAY_SPOOL_RECORDS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "tools/gateway/spool_item.h"

namespace diptych::gateway {

// The records inside a spool's blocks, as SPOOL_FORMAT.md lays them out.

void AppendSpoolItem(const SpoolItem& item, std::string* block);
void AppendRenumbering(const Renumbering& renumbering, std::string* block);
// The first block of a file.
std::string EncodeSpoolState(const SpoolState& state);

// What an item, or a renumbering, makes of the state.
void FoldSpoolItem(const SpoolItem& item, SpoolState* state);
void FoldRenumbering(const Renumbering& renumbering, SpoolState* state);

// Folds a block's records into `state`; a block that is a state replaces it.
// Items are added to `items` if it is not null. DATA_LOSS if it is no block.
absl::Status DecodeSpoolBlock(absl::string_view block, SpoolState* state,
                              std::vector<SpoolItem>* items);

}  // namespace diptych::gateway

#endif  // TOOLS_GATEWAY_SPOOL_RECORDS_H_
