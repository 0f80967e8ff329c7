#include "table.h"

#include <stdlib.h>
#include <string.h>

#include "_cgo_export.h"

#define COLUMNS 2

static const char *const NAMES[COLUMNS] = {"n", "square"};

/* ---- two columns of int64, each struct with its children in one piece of memory --------------------------------------- */

static void release_child_schema(struct ArrowSchema *schema) { schema->release = NULL; }

static void release_schema(struct ArrowSchema *schema) {
  free(schema->private_data);
  schema->release = NULL;
}

int make_schema(struct ArrowSchema *schema) {
  struct {
    struct ArrowSchema fields[COLUMNS], *pointers[COLUMNS];
  } *made = calloc(1, sizeof *made);
  if (made == NULL) return 1;
  for (int i = 0; i < COLUMNS; i++) {
    made->fields[i] = (struct ArrowSchema){.format = "l", .name = NAMES[i], .release = release_child_schema};
    made->pointers[i] = &made->fields[i];
  }
  *schema = (struct ArrowSchema){.format = "+s", .name = "", .n_children = COLUMNS, .children = made->pointers,
                                 .release = release_schema, .private_data = made};
  return 0;
}

static void release_column(struct ArrowArray *array) {
  free(array->private_data); /* the buffers' table, and the values after it */
  array->release = NULL;
}

typedef struct {
  struct ArrowArray columns[COLUMNS], *pointers[COLUMNS];
  const void *no_nulls;
} batch;

static void release_batch(struct ArrowArray *array) {
  batch *made = array->private_data;
  for (int i = 0; i < COLUMNS; i++) /* a consumer may have moved one out */
    if (made->columns[i].release != NULL) made->columns[i].release(&made->columns[i]);
  free(made);
  array->release = NULL;
}

int make_batch(struct ArrowArray *out, int64_t rows) {
  batch *made = calloc(1, sizeof *made);
  if (made == NULL) return 1;
  *out = (struct ArrowArray){.length = rows, .n_buffers = 1, .n_children = COLUMNS, .buffers = &made->no_nulls,
                             .children = made->pointers, .release = release_batch, .private_data = made};
  for (int i = 0; i < COLUMNS; i++) {
    const void **buffers = malloc(2 * sizeof *buffers + (size_t)rows * sizeof(int64_t));
    made->pointers[i] = &made->columns[i];
    if (buffers == NULL) {
      release_batch(out);
      return 1;
    }
    buffers[0] = NULL;
    buffers[1] = buffers + 2;
    made->columns[i] = (struct ArrowArray){.length = rows, .n_buffers = 2, .buffers = buffers,
                                           .release = release_column, .private_data = buffers};
  }
  return 0;
}

void *column(const struct ArrowArray *from, int index) { return (void *)from->children[index]->buffers[1]; }

/* ---- the table: what Go exports, with the types of the header ---------------------------------------------------------- */

static int32_t reader_create(const char *config, void **out, char **answer) {
  return goCreate((char *)config, out, answer);
}

static int32_t reader_plan(void *reader, const char *request, const struct ArrowSchema *declared,
                           struct ArrowSchema *schema, char **answer) {
  (void)request;
  (void)declared;
  return goPlan(reader, schema, answer);
}

static int stream_schema(struct ArrowArrayStream *self, struct ArrowSchema *out) {
  (void)self;
  return make_schema(out);
}

static int stream_next(struct ArrowArrayStream *self, struct ArrowArray *out) {
  memset(out, 0, sizeof *out); /* not set `release`: the end */
  return goNext(self->private_data, out);
}

static const char *stream_error(struct ArrowArrayStream *self) {
  (void)self;
  return "there is no memory left";
}

static void stream_release(struct ArrowArrayStream *self) {
  goStreamClose(self->private_data);
  self->release = NULL;
}

static int32_t reader_read(void *reader, const char *split, struct ArrowArrayStream *out, char **answer) {
  void *stream = NULL;
  int32_t status = goRead(reader, (char *)split, &stream, answer);
  if (status == DATIVO_OK)
    *out = (struct ArrowArrayStream){stream_schema, stream_next, stream_error, stream_release, stream};
  return status;
}

static void free_text(char *text) { free(text); }

static const dativo_reader TABLE = {
    .head = {DATIVO_MAGIC, DATIVO_API_VERSION, sizeof TABLE, DATIVO_READER,
             "{\"name\": \"squares\", \"version\": \"0.1.0\", \"language\": \"go\", \"capabilities\": [\"splits\"],"
             " \"options_schema\": {\"type\": \"object\", \"required\": [\"to\"], \"properties\": {\"to\":"
             " {\"type\": \"integer\", \"minimum\": 0, \"maximum\": 1000000000, \"description\": \"how many\"}}}}",
             free_text},
    .create = reader_create,
    .close = goClose,
    .read = reader_read,
    .cancel = goCancel,
    .plan = reader_plan,
};

const dativo_plugin *squares(const dativo_host *host) {
  (void)host;
  return &TABLE.head;
}
