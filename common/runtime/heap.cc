#include "common/runtime/heap.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace fedgraft {

void KeepFreedChunks() {
#ifdef __GLIBC__
  // To set one fixes the other, which would have followed the sizes in use.
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
  mallopt(M_TRIM_THRESHOLD, 8 << 20);
#endif
}

}  // namespace fedgraft
