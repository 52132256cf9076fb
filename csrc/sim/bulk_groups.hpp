// Which stores of a thread a wait for its bulk groups answers for, so that the race check orders them before it.
#pragma once

#include "race.hpp"

namespace atrous::sim {

// Of the running thread, in its open group.
void note_store(race::Agent reader, race::Agent writer);

}  // namespace atrous::sim
