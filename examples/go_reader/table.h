/* What Go can't say: the table, and Arrow's structs in memory of C. */
#include <stdint.h>

#include "dativo_plugin.h"

int make_schema(struct ArrowSchema *schema);
int make_batch(struct ArrowArray *batch, int64_t rows);
void *column(const struct ArrowArray *batch, int index);
