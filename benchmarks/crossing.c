/* A library that does nothing but cross: eight columns of int64 out, any columns in. */

#include <stdlib.h>
#include <string.h>

#include "dativo_json.h"
#include "dativo_plugin.h"

#define COLUMNS 8
#define ROWS 64

static int64_t values[ROWS];
static const char *const NAMES[COLUMNS] = {"a", "b", "c", "d", "e", "f", "g", "h"};

typedef struct {
  struct ArrowSchema fields[COLUMNS], *pointers[COLUMNS];
} fields;

typedef struct {
  struct ArrowArray columns[COLUMNS], *pointers[COLUMNS];
  const void *none[1], *buffers[2];
} batch;

static void release_schema(struct ArrowSchema *schema) {
  free(schema->private_data);
  schema->release = NULL;
}

static void release_array(struct ArrowArray *array) {
  free(array->private_data);
  array->release = NULL;
}

static int get_schema(struct ArrowArrayStream *self, struct ArrowSchema *out) {
  fields *made = calloc(1, sizeof *made);
  (void)self;
  for (int i = 0; i < COLUMNS; i++) {
    made->fields[i] = (struct ArrowSchema){.format = "l", .name = NAMES[i], .release = release_schema};
    made->pointers[i] = &made->fields[i];
  }
  *out = (struct ArrowSchema){.format = "+s", .name = "", .n_children = COLUMNS, .children = made->pointers,
                              .release = release_schema, .private_data = made};
  return 0;
}

static int get_next(struct ArrowArrayStream *self, struct ArrowArray *out) {
  memset(out, 0, sizeof *out);
  if ((*(int64_t *)self->private_data)-- <= 0) return 0;
  batch *made = calloc(1, sizeof *made);
  made->buffers[1] = values;
  for (int i = 0; i < COLUMNS; i++) {
    made->columns[i] = (struct ArrowArray){.length = ROWS, .n_buffers = 2, .buffers = made->buffers, .release = release_array};
    made->pointers[i] = &made->columns[i];
  }
  *out = (struct ArrowArray){.length = ROWS, .n_buffers = 1, .n_children = COLUMNS, .buffers = made->none,
                             .children = made->pointers, .release = release_array, .private_data = made};
  return 0;
}

static void release_stream(struct ArrowArrayStream *self) {
  free(self->private_data);
  self->release = NULL;
}

static int32_t create(const char *config, void **out, char **answer) {
  int64_t *batches = malloc(sizeof *batches);
  (void)answer;
  *out = batches;
  return !json_int(json_member(json_member(config, "options"), "batches"), batches);
}

static int32_t read_split(void *self, const char *split, struct ArrowArrayStream *out, char **answer) {
  int64_t *left = malloc(sizeof *left);
  (void)split;
  (void)answer;
  *left = *(int64_t *)self;
  *out = (struct ArrowArrayStream){get_schema, get_next, NULL, release_stream, left};
  return DATIVO_OK;
}

static int32_t make_sink(const char *path, const struct ArrowSchema *schema, const char *options, const char *context,
                         void **out, char **answer) {
  (void)path, (void)schema, (void)options, (void)context, (void)answer;
  *out = malloc(1);
  return DATIVO_OK;
}

static int32_t write_batch(void *self, struct ArrowArray *from, char **answer) {
  (void)self, (void)from, (void)answer;
  return DATIVO_OK;
}

static int32_t finish(void *self, char **answer) {
  (void)self, (void)answer;
  return DATIVO_FAILED;
}

static void free_text(char *text) { free(text); }

static const dativo_reader READER = {
    .head = {DATIVO_MAGIC, DATIVO_API_VERSION, sizeof READER, DATIVO_READER,
             "{\"name\": \"batches\", \"options_schema\": {\"properties\": {\"batches\": {\"type\": \"integer\"}}}}",
             free_text},
    .create = create,
    .close = free,
    .read = read_split,
};

static const dativo_format FORMAT = {
    .head = {DATIVO_MAGIC, DATIVO_API_VERSION, sizeof FORMAT, DATIVO_FORMAT,
             "{\"name\": \"nowhere\", \"extension\": \"none\"}", free_text},
    .create = make_sink,
    .close = free,
    .write = write_batch,
    .finish = finish,
};

const dativo_plugin *batches(const dativo_host *host) { return host ? &READER.head : NULL; }

const dativo_plugin *nowhere(const dativo_host *host) { return host ? &FORMAT.head : NULL; }
