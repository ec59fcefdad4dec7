#ifndef INDEXER_ACCESS_ACCESS_SALT_H_
#define INDEXER_ACCESS_ACCESS_SALT_H_

#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {

// Gives a record that has no salt 32 random bytes, so that its commitment says
// nothing of it to whoever guesses. Aborts the program if the system has no
// randomness.
void SaltAccess(stored::v1::AccessRecord* record);

}  // namespace diptych::indexer

#endif  // INDEXER_ACCESS_ACCESS_SALT_H_
