#ifndef ARCHIVER_BASE_UNSYNCED_FILE_H_
#define ARCHIVER_BASE_UNSYNCED_FILE_H_

#include <memory>

#include "archiver/base/file.h"

namespace diptych::base {

// The machine's file system, without waiting for any disk: for archives that a
// test or a benchmark makes and that need survive no power loss.
std::unique_ptr<FileSystem> NewUnsyncedFileSystem();

}  // namespace diptych::base

#endif  // ARCHIVER_BASE_UNSYNCED_FILE_H_
