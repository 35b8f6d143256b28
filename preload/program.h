/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that cannot have the library beside what they have. */
#ifndef PRELOAD_PROGRAM_H
#define PRELOAD_PROGRAM_H

#include "base.h"

/*
 * Whether the program `file` needs the runtime of a sanitizer, which has to be
 * the first library of all and refuses to run otherwise. Looked up on `path`,
 * a list of folders, if there is one and the name has no slash.
 */
bool program_needs_sanitizer(const char *file, const char *path);

#endif /* PRELOAD_PROGRAM_H */
