/* A reader of square numbers, a thousand a split: what a plugin in C needs, and no more. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dativo_json.h"
#include "dativo_plugin.h"

#define SPLIT_ROWS 1000
#define BATCH_ROWS 250
#define COLUMNS 2

static const char *const NAMES[COLUMNS] = {"n", "square"};

typedef struct {
  int64_t to;
  volatile int cancelled; /* set by one thread, read by others: no more than a wish */
} reader;

typedef struct {
  const reader *owner;
  int64_t next, end;
} stream;

/* An error for `*answer`. The message is ours, so there is nothing in it to escape. */
static int32_t fail(char **answer, const char *kind, const char *message, const char *hint) {
  const char *form = "{\"kind\": \"%s\", \"message\": \"%s\", \"hint\": \"%s\"}";
  size_t size = strlen(form) + strlen(kind) + strlen(message) + strlen(hint);
  *answer = malloc(size);
  if (*answer != NULL) snprintf(*answer, size, form, kind, message, hint);
  return DATIVO_FAILED;
}

/* ---- the rows, as Arrow: a struct array with a child for each column ---------------------------------------------- */

static void release_schema(struct ArrowSchema *schema) {
  for (int64_t i = 0; i < schema->n_children; i++) {
    if (schema->children[i]->release != NULL) schema->children[i]->release(schema->children[i]);
    free(schema->children[i]);
  }
  free(schema->children);
  schema->release = NULL;
}

static int make_schema(struct ArrowSchema *schema) {
  memset(schema, 0, sizeof *schema);
  schema->format = "+s";
  schema->name = "";
  schema->children = calloc(COLUMNS, sizeof *schema->children);
  schema->release = release_schema;
  if (schema->children == NULL) return 1;
  for (int i = 0; i < COLUMNS; i++) {
    struct ArrowSchema *child = calloc(1, sizeof *child);
    if (child == NULL) {
      release_schema(schema);
      return 1;
    }
    child->format = "l"; /* int64 */
    child->name = NAMES[i];
    child->release = release_schema;
    schema->children[schema->n_children++] = child;
  }
  return 0;
}

static void release_array(struct ArrowArray *array) {
  for (int64_t i = 0; i < array->n_children; i++) {
    if (array->children[i]->release != NULL) array->children[i]->release(array->children[i]);
    free(array->children[i]);
  }
  for (int64_t i = 0; i < array->n_buffers; i++) free((void *)array->buffers[i]);
  free(array->children);
  free(array->buffers);
  array->release = NULL;
}

/* An array of `n_buffers` empty buffers and `n_children` empty children. */
static int make_array(struct ArrowArray *array, int64_t length, int64_t n_buffers, int64_t n_children) {
  memset(array, 0, sizeof *array);
  array->length = length;
  array->buffers = calloc((size_t)n_buffers, sizeof *array->buffers);
  array->children = n_children ? calloc((size_t)n_children, sizeof *array->children) : NULL;
  array->release = release_array;
  if (array->buffers == NULL || (n_children && array->children == NULL)) {
    release_array(array);
    return 1;
  }
  array->n_buffers = n_buffers;
  return 0;
}

static int make_batch(struct ArrowArray *batch, int64_t from, int64_t to) {
  int64_t *columns[COLUMNS];
  if (make_array(batch, to - from, 1, COLUMNS)) return 1;
  for (int i = 0; i < COLUMNS; i++) {
    struct ArrowArray *child = malloc(sizeof *child);
    if (child == NULL || make_array(child, to - from, 2, 0)) {
      free(child);
      release_array(batch);
      return 1;
    }
    batch->children[batch->n_children++] = child;
    child->buffers[1] = columns[i] = malloc((size_t)(to - from) * sizeof(int64_t));
    if (columns[i] == NULL) {
      release_array(batch);
      return 1;
    }
  }
  for (int64_t n = from; n < to; n++) {
    columns[0][n - from] = n;
    columns[1][n - from] = n * n;
  }
  return 0;
}

/* ---- a stream: the batches of one split --------------------------------------------------------------------------- */

static int stream_schema(struct ArrowArrayStream *self, struct ArrowSchema *out) {
  (void)self;
  return make_schema(out);
}

static int stream_next(struct ArrowArrayStream *self, struct ArrowArray *out) {
  stream *at = self->private_data;
  memset(out, 0, sizeof *out); /* not set `release`: the end */
  if (at->owner->cancelled || at->next >= at->end) return 0;
  int64_t from = at->next;
  at->next = from + BATCH_ROWS < at->end ? from + BATCH_ROWS : at->end;
  return make_batch(out, from, at->next);
}

static const char *stream_error(struct ArrowArrayStream *self) {
  (void)self;
  return "there is no memory left";
}

static void stream_release(struct ArrowArrayStream *self) {
  free(self->private_data);
  self->release = NULL;
}

/* ---- the reader --------------------------------------------------------------------------------------------------- */

static int32_t reader_create(const char *config, void **out, char **answer) {
  int64_t to;
  if (!json_int(json_member(json_member(config, "options"), "to"), &to) || to < 0 || to > 1000000000)
    return fail(answer, "ConfigurationError", "options.to must be a number from 0 to 1,000,000,000", "set it");
  reader *made = calloc(1, sizeof *made);
  if (made == NULL) return fail(answer, "TransientError", "there is no memory left", "try again");
  made->to = to;
  *out = made;
  return DATIVO_OK;
}

static void reader_close(void *self) { free(self); }

static void reader_cancel(void *self) { ((reader *)self)->cancelled = 1; }

static int32_t reader_plan(void *self, const char *request, const struct ArrowSchema *declared,
                           struct ArrowSchema *schema, char **answer) {
  const char *form = "%s{\"id\": \"from %lld\", \"payload\": {\"start\": %lld}, \"rows\": %lld}";
  int64_t to = ((reader *)self)->to;
  size_t size = 32 + (size_t)(to / SPLIT_ROWS + 1) * 128, used;
  char *text = malloc(size);
  (void)request;
  (void)declared;
  if (text == NULL || make_schema(schema)) {
    free(text);
    return fail(answer, "TransientError", "there is no memory left", "try again");
  }
  used = (size_t)snprintf(text, size, "{\"splits\": [");
  for (int64_t start = 0; start < to; start += SPLIT_ROWS) {
    long long rows = to - start < SPLIT_ROWS ? to - start : SPLIT_ROWS;
    used += (size_t)snprintf(text + used, size - used, form, start ? ", " : "", (long long)start, (long long)start, rows);
  }
  snprintf(text + used, size - used, "]}");
  *answer = text;
  return DATIVO_OK;
}

static int32_t reader_read(void *self, const char *split, struct ArrowArrayStream *out, char **answer) {
  const reader *owner = self;
  int64_t start;
  if (!json_int(json_member(json_member(split, "payload"), "start"), &start))
    return fail(answer, "PluginError", "a split without a start", "plan again");
  stream *at = calloc(1, sizeof *at);
  if (at == NULL) return fail(answer, "TransientError", "there is no memory left", "try again");
  at->owner = owner;
  at->next = start;
  at->end = start + SPLIT_ROWS < owner->to ? start + SPLIT_ROWS : owner->to;
  *out = (struct ArrowArrayStream){stream_schema, stream_next, stream_error, stream_release, at};
  return DATIVO_OK;
}

static int32_t reader_discover(void *self, char **answer) {
  const char *form = "{\"objects\": [{\"name\": \"squares\", \"rows\": %lld}]}";
  size_t size = strlen(form) + 24;
  *answer = malloc(size);
  if (*answer != NULL) snprintf(*answer, size, form, (long long)((reader *)self)->to);
  return DATIVO_OK;
}

static void free_text(char *text) { free(text); }

static const dativo_reader TABLE = {
    .head = {DATIVO_MAGIC, DATIVO_API_VERSION, sizeof TABLE, DATIVO_READER,
             "{\"name\": \"squares\", \"version\": \"0.1.0\", \"language\": \"c\", \"capabilities\": [\"splits\"],"
             " \"options_schema\": {\"type\": \"object\", \"required\": [\"to\"], \"properties\": {\"to\":"
             " {\"type\": \"integer\", \"minimum\": 0, \"maximum\": 1000000000, \"description\": \"how many\"}}}}",
             free_text},
    .create = reader_create,
    .close = reader_close,
    .read = reader_read,
    .cancel = reader_cancel,
    .plan = reader_plan,
    .discover = reader_discover,
};

const dativo_plugin *squares(const dativo_host *host) {
  (void)host;
  return &TABLE.head;
}
