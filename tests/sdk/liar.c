/* A library that breaks the rules of dativo_plugin.h, each way under a symbol or an option of its own. */

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "dativo_plugin.h"

static int alive_readers, alive_streams, alive_arrays, alive_schemas, alive_texts, late_calls;
static const dativo_host *known_host;

/* What was made and not released, and what was called after its end. */
int left_behind(void) { return alive_readers + alive_streams + alive_arrays + alive_schemas + alive_texts; }
int called_late(void) { return late_calls; }

static char *text_of(const char *text) {
  char *made = malloc(strlen(text) + 1);
  alive_texts++;
  return strcpy(made, text);
}

static void free_text(char *text) {
  alive_texts--;
  free(text);
}

typedef struct {
  char mode[32];
  int cancelled;
} reader;

typedef struct {
  const char *mode;
  int batches, ended;
} stream;

static int is(const char *mode, const char *name) { return strcmp(mode, name) == 0; }

/* ---- columns: n, int64, and s, string; three rows, the last s is null ------------------------------------------------ */

static void release_schema(struct ArrowSchema *schema) {
  for (intptr_t i = 0; i < (intptr_t)schema->private_data; i++) {
    if (schema->children[i]->release) schema->children[i]->release(schema->children[i]);
    free(schema->children[i]);
  }
  free(schema->children);
  schema->release = NULL;
  alive_schemas--;
}

static void make_schema(struct ArrowSchema *schema, const char *format, const char *name, int children) {
  memset(schema, 0, sizeof *schema);
  schema->format = format;
  schema->name = name;
  schema->flags = ARROW_FLAG_NULLABLE;
  schema->n_children = children;
  schema->children = children ? calloc((size_t)children, sizeof *schema->children) : NULL;
  for (int i = 0; i < children; i++) schema->children[i] = calloc(1, sizeof(struct ArrowSchema));
  schema->private_data = (void *)(intptr_t)children;
  schema->release = release_schema;
  alive_schemas++;
}

static void fill_schema(struct ArrowSchema *schema, const char *mode) {
  make_schema(schema, "+s", "", 2);
  make_schema(schema->children[0], is(mode, "schema_format") ? NULL : is(mode, "schema_word") ? "what" : "l", "n", 0);
  make_schema(schema->children[1], "u", "s", 0);
  if (is(mode, "schema_children")) schema->n_children = -2;
}

static void release_array(struct ArrowArray *array) {
  int64_t *kept = array->private_data;
  for (int64_t i = 0; i < kept[0]; i++) free((void *)array->buffers[i]);
  for (int64_t i = 0; i < kept[1]; i++)
    if (array->children[i]) {
      if (array->children[i]->release) array->children[i]->release(array->children[i]);
      free(array->children[i]);
    }
  free(array->buffers);
  free(array->children);
  free(kept);
  array->release = NULL;
  alive_arrays--;
}

static void make_array(struct ArrowArray *array, int64_t buffers, int64_t children, int64_t null_count) {
  int64_t *kept = malloc(2 * sizeof *kept);
  kept[0] = buffers;
  kept[1] = children;
  *array = (struct ArrowArray){3, null_count, 0, buffers, children, calloc((size_t)buffers, sizeof(void *)), NULL, NULL,
                               release_array, kept};
  if (children) array->children = calloc((size_t)children, sizeof *array->children);
  for (int64_t i = 0; i < children; i++) array->children[i] = calloc(1, sizeof(struct ArrowArray));
  alive_arrays++;
}

static const void *bytes(const void *from, size_t size) { return memcpy(malloc(size), from, size); }

static void fill_array(struct ArrowArray *array, const char *mode) {
  int64_t numbers[] = {1, 2, 3};
  int32_t offsets[] = {0, 1, 3, 3};
  struct ArrowArray *n, *s;
  make_array(array, 1, 2, 0);
  n = array->children[0];
  s = array->children[1];
  make_array(n, 2, 0, 0);
  make_array(s, 3, 0, 1);
  n->buffers[1] = bytes(numbers, sizeof numbers);
  s->buffers[0] = bytes("\x03", 1);
  if (is(mode, "offsets")) offsets[1] = 1000;
  s->buffers[1] = bytes(offsets, sizeof offsets);
  s->buffers[2] = bytes(is(mode, "bytes") ? "\xff\xff\xff" : "abb", 3);
  if (is(mode, "length")) array->length = n->length = s->length = -3;
  if (is(mode, "far_length")) array->length = n->length = (int64_t)1 << 40;
  if (is(mode, "long_column")) n->length = 4;
  if (is(mode, "offset")) n->offset = -5;
  if (is(mode, "fewer_columns")) array->n_children = 1;
  if (is(mode, "more_columns")) array->n_children = 3;
  if (is(mode, "null_child")) {
    release_array(n);
    free(n);
    array->children[0] = NULL;
  }
  if (is(mode, "fewer_buffers")) s->n_buffers = 2;
  if (is(mode, "null_buffers")) {
    free((void *)n->buffers[1]);
    free(n->buffers);
    n->buffers = NULL;
    ((int64_t *)n->private_data)[0] = 0;
  }
  if (is(mode, "null_buffer")) {
    free((void *)n->buffers[1]);
    n->buffers[1] = NULL;
  }
  if (is(mode, "null_count")) s->null_count = 9;
  if (is(mode, "null_rows")) array->null_count = 1;
}

static int get_schema(struct ArrowArrayStream *self, struct ArrowSchema *out) {
  const stream *at = self->private_data;
  if (is(at->mode, "schema_fails")) return 5;
  fill_schema(out, at->mode);
  return 0;
}

static int get_next(struct ArrowArrayStream *self, struct ArrowArray *out) {
  stream *at = self->private_data;
  late_calls += at->ended;
  memset(out, 0, sizeof *out);
  if (at->batches == 2 && (is(at->mode, "fails_halfway") || is(at->mode, "fails_mutely") || is(at->mode, "widen"))) {
    at->ended = 1;
    return 5;
  }
  if ((at->batches == 2 && !is(at->mode, "never_ends")) || is(at->mode, "empty")) {
    at->ended = 1;
    return 0;
  }
  at->batches++;
  fill_array(out, at->mode);
  return 0;
}

static const char *get_last_error(struct ArrowArrayStream *self) {
  const stream *at = self->private_data;
  if (is(at->mode, "fails_mutely")) return NULL;
  if (is(at->mode, "widen"))
    return "{\"kind\": \"SchemaMismatchError\", \"message\": \"n is text\", \"details\": {\"column\": \"n\","
           " \"widen_to\": \"string\"}}";
  return "{\"kind\": \"ConnectionError\", \"error_code\": \"LINE_CUT\", \"message\": \"the line was cut\","
         " \"hint\": \"wait\", \"retryable\": true, \"details\": {\"byte\": 7}}";
}

static void release_stream(struct ArrowArrayStream *self) {
  free(self->private_data);
  self->release = NULL;
  alive_streams--;
}

/* ---- the reader ------------------------------------------------------------------------------------------------------ */

static int32_t create(const char *config, void **out, char **answer) {
  const char *found = strstr(config, "\"mode\":");
  reader *made = calloc(1, sizeof *made);
  found = found ? strchr(found + 7, '"') + 1 : "";
  strncat(made->mode, found, strcspn(found, "\"") < 31 ? strcspn(found, "\"") : 31);
  if (is(made->mode, "create_nothing") || is(made->mode, "create_fails")) {
    int fails = is(made->mode, "create_fails");
    free(made);
    if (fails) *answer = text_of("no luck today");
    return fails;
  }
  if (strstr(config, "shout")) known_host->log(known_host->context, DATIVO_WARNING, config);
  alive_readers++;
  *out = made;
  return DATIVO_OK;
}

static void close_reader(void *self) {
  free(self);
  alive_readers--;
}

static void cancel(void *self) { ((reader *)self)->cancelled = 1; }

static int32_t read_split(void *self, const char *split, struct ArrowArrayStream *out, char **answer) {
  const reader *owner = self;
  (void)split;
  if (is(owner->mode, "no_stream")) return DATIVO_OK;
  if (is(owner->mode, "read_fails")) return DATIVO_FAILED;
  if (is(owner->mode, "read_odd")) {
    *answer = text_of("{\"kind\": \"NoSuchKind\", \"message\": 7, \"details\": []}");
    return 77;
  }
  stream *at = calloc(1, sizeof *at);
  at->mode = owner->mode;
  *out = (struct ArrowArrayStream){get_schema, get_next, get_last_error, release_stream, at};
  alive_streams++;
  return DATIVO_OK;
}

static int32_t plan(void *self, const char *request, const struct ArrowSchema *declared, struct ArrowSchema *schema,
                    char **answer) {
  const reader *owner = self;
  (void)request;
  (void)declared;
  if (is(owner->mode, "plan_words") || is(owner->mode, "good")) fill_schema(schema, owner->mode);
  if (is(owner->mode, "plan_nothing")) return DATIVO_OK;
  *answer = text_of(is(owner->mode, "plan_words")   ? "not JSON"
                    : is(owner->mode, "plan_list")  ? "[]"
                    : is(owner->mode, "plan_other") ? "{\"splits\": [{\"name\": 1}]}"
                    : is(owner->mode, "plan_deep")  ? "[[[[[[[["
                    : is(owner->mode, "plan_rows")  ? "{\"splits\": [{\"id\": \"one\", \"rows\": -1}]}"
                    : is(owner->mode, "plan_cursor") ? "{\"splits\": [], \"cursor\": [1]}"
                    : is(owner->mode, "plan_notes") ? "{\"splits\": [], \"notes\": [1]}"
                                                    : "{\"splits\": [{\"id\": \"one\"}], \"notes\": [\"planned\"]}");
  return DATIVO_OK;
}

static int32_t discover(void *self, char **answer) {
  (void)self;
  *answer = text_of("{\"objects\": [], \"metadata\": 1.5}");
  return DATIVO_OK;
}

static int32_t metrics(void *self, struct ArrowArrayStream *from, char **answer) {
  (void)from;
  *answer = text_of(is(((reader *)self)->mode, "metrics_odd") ? "{\"bad_rows\": \"4\"}" : "{\"bad_rows\": 4}");
  return DATIVO_OK;
}

/* ---- the tables ------------------------------------------------------------------------------------------------------ */

#define ABOUT(more) "{\"name\": \"liar\", \"version\": \"0.2.0\"" more "}"
#define MODE ", \"options_schema\": {\"properties\": {\"mode\": {\"type\": \"string\", \"default\": \"good\"}}}"
#define TABLE(symbol, magic, version, size, kind, about, reading)                                          \
  static const dativo_reader symbol##_table = {{magic, version, size, kind, about, free_text},             \
                                               create, close_reader, reading, cancel, plan, NULL, discover, NULL, metrics}; \
  const dativo_plugin *symbol(const dativo_host *host) {                                                   \
    known_host = host;                                                                                     \
    return &symbol##_table.head;                                                                           \
  }
#define WHOLE sizeof(dativo_reader)

TABLE(liar, DATIVO_MAGIC, 1, WHOLE, DATIVO_READER, ABOUT(MODE), read_split)
TABLE(trusted, DATIVO_MAGIC, 1, WHOLE, DATIVO_READER, ABOUT(MODE ", \"validated\": true"), read_split)
TABLE(older, DATIVO_MAGIC, 1, offsetof(dativo_reader, cancel), DATIVO_READER, ABOUT(MODE), read_split)
TABLE(longer, DATIVO_MAGIC, 1, WHOLE + 16, DATIVO_READER, ABOUT(MODE), read_split)
TABLE(other_magic, 7, 1, WHOLE, DATIVO_READER, ABOUT(MODE), read_split)
TABLE(newer, DATIVO_MAGIC, 99, WHOLE, DATIVO_READER, ABOUT(MODE), read_split)
TABLE(ancient, DATIVO_MAGIC, 0, WHOLE, DATIVO_READER, ABOUT(MODE), read_split)
/* Knows the versions of the API that its user says, and gives the newest that the host takes. */
#ifdef NEWEST
#define WORDS_(number) #number
#define WORDS(number) WORDS_(number)
#define APIS ", \"api_version\": [" WORDS(OLDEST) ", " WORDS(NEWEST) "]"
const dativo_plugin *several(const dativo_host *host) {
  static dativo_reader made;
  made = liar_table;
  made.head.about = ABOUT(MODE APIS);
  for (made.head.api_version = NEWEST; made.head.api_version > OLDEST; made.head.api_version--)
    if (made.head.api_version <= host->api_version && made.head.api_version >= host->oldest_api_version) break;
  return &made.head;
}
#endif
TABLE(small, DATIVO_MAGIC, 1, sizeof(dativo_plugin), DATIVO_READER, ABOUT(MODE), read_split)
TABLE(large, DATIVO_MAGIC, 1, 1u << 30, DATIVO_READER, ABOUT(MODE), read_split)
TABLE(other_kind, DATIVO_MAGIC, 1, WHOLE, 9, ABOUT(MODE), read_split)
TABLE(no_read, DATIVO_MAGIC, 1, WHOLE, DATIVO_READER, ABOUT(MODE), NULL)
TABLE(no_about, DATIVO_MAGIC, 1, WHOLE, DATIVO_READER, NULL, read_split)
TABLE(half_about, DATIVO_MAGIC, 1, WHOLE, DATIVO_READER, "{\"name\":", read_split)
TABLE(nameless, DATIVO_MAGIC, 1, WHOLE, DATIVO_READER, "{}", read_split)
TABLE(odd_name, DATIVO_MAGIC, 1, WHOLE, DATIVO_READER, "{\"name\": \"../x\"}", read_split)
TABLE(odd_pattern, DATIVO_MAGIC, 1, WHOLE, DATIVO_READER,
      ABOUT(", \"options_schema\": {\"properties\": {\"a\": {\"type\": \"string\", \"pattern\": \"(\"}}}"), read_split)
TABLE(odd_option, DATIVO_MAGIC, 1, WHOLE, DATIVO_READER,
      ABOUT(", \"options_schema\": {\"properties\": {\"__init__\": {\"type\": \"string\"}}}"), read_split)
TABLE(odd_required, DATIVO_MAGIC, 1, WHOLE, DATIVO_READER,
      ABOUT(", \"options_schema\": {\"required\": 7, \"properties\": {\"a\": {\"type\": \"string\"}}}"), read_split)
TABLE(odd_default, DATIVO_MAGIC, 1, WHOLE, DATIVO_READER,
      ABOUT(", \"options_schema\": {\"properties\": {\"a\": {\"type\": \"string\", \"default\": 7}}}"), read_split)

/* A format that tells of rows and leaves no file. */
static int32_t sink_create(const char *path, const struct ArrowSchema *schema, const char *options, const char *context,
                           void **out, char **answer) {
  (void)path;
  (void)schema;
  (void)options;
  (void)context;
  (void)answer;
  *out = calloc(1, sizeof(reader));
  alive_readers++;
  return DATIVO_OK;
}

static int32_t sink_write(void *self, struct ArrowArray *batch, char **answer) {
  (void)self;
  (void)batch;
  (void)answer;
  return DATIVO_OK;
}

static int32_t sink_finish(void *self, char **answer) {
  (void)self;
  *answer = text_of("{\"rows\": 3}");
  return DATIVO_OK;
}

const dativo_plugin *fileless(const dativo_host *host) {
  static const dativo_format table = {{DATIVO_MAGIC, 1, sizeof table, DATIVO_FORMAT, ABOUT(", \"extension\": \"x\""), free_text},
                                      sink_create, close_reader, sink_write, sink_finish, NULL, NULL};
  (void)host;
  return &table.head;
}

const dativo_plugin *nothing(const dativo_host *host) {
  (void)host;
  return NULL;
}
