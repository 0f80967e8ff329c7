/* A look into the JSON that a host gives, which is well formed, for plugins that need a number or two of it. No part of the
 * contract: for more, take a library such as yyjson. */
#ifndef DATIVO_JSON_H
#define DATIVO_JSON_H

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The first character after a value. */
static inline const char *json_skip(const char *at) {
  int depth = 0;
  do {
    if (*at == '"') {
      for (at++; *at != '\0' && *at != '"'; at++)
        if (*at == '\\' && at[1] != '\0') at++;
    } else if (*at == '{' || *at == '[') {
      depth++;
    } else if (*at == '}' || *at == ']') {
      depth--;
    } else if (depth == 0) {
      return at + strcspn(at, ",}] \n\t\r"); /* a number or a word */
    }
    if (*at != '\0') at++;
  } while (depth > 0 && *at != '\0');
  return at;
}

/* The value of an object's member; NULL where there is no such member or no object. */
static inline const char *json_member(const char *object, const char *name) {
  size_t length = strlen(name);
  if (object == NULL || *object != '{') return NULL;
  for (const char *at = object + 1;;) {
    at += strspn(at, ", \n\t\r");
    if (*at != '"') return NULL;
    const char *key = at + 1;
    at = json_skip(at);
    int found = (size_t)(at - key) == length + 1 && strncmp(key, name, length) == 0;
    at += strspn(at, ": \n\t\r");
    if (found) return at;
    at = json_skip(at);
  }
}

/* Whether a value is a whole number. */
static inline int json_int(const char *value, int64_t *out) {
  char *end;
  if (value == NULL || strchr("-0123456789", *value) == NULL) return 0;
  errno = 0;
  *out = strtoll(value, &end, 10);
  return errno == 0 && strchr(",}] \n\t\r", *end) != NULL;
}

/* The first item of an array; NULL where there is none, or no array. */
static inline const char *json_first(const char *array) {
  if (array == NULL || *array != '[') return NULL;
  array += 1 + strspn(array + 1, " \n\t\r");
  return *array == ']' ? NULL : array;
}

/* The item after an item; NULL after the last. */
static inline const char *json_next(const char *item) {
  if (item == NULL) return NULL;
  item = json_skip(item);
  item += strspn(item, " \n\t\r");
  return *item == ',' ? item + 1 + strspn(item + 1, " \n\t\r") : NULL;
}

static inline unsigned json_unit(const char *digits) {
  char hex[5] = {0};
  strncpy(hex, digits, 4);
  return (unsigned)strtoul(hex, NULL, 16);
}

/* A copy of a text, to be freed, as UTF-8; NULL where the value is no text, or there is no memory left. A NUL ends it. */
static inline char *json_text(const char *value) {
  if (value == NULL || *value != '"') return NULL;
  char *made = (char *)malloc((size_t)(json_skip(value) - value)), *out = made;
  if (made == NULL) return NULL;
  for (const char *at = value + 1; *at != '\0' && *at != '"';) {
    if (*at != '\\') {
      *out++ = *at++;
    } else if (at[1] != 'u') {
      const char *names = "bfnrt", *values = "\b\f\n\r\t", *found = strchr(names, at[1]);
      *out++ = found != NULL && *found != '\0' ? values[found - names] : at[1];
      at += 2;
    } else {
      unsigned code = json_unit(at + 2);
      at += 6;
      if (code >> 10 == 0x36 && at[0] == '\\' && at[1] == 'u') { /* the first of two surrogates */
        code = 0x10000 + ((code & 0x3ff) << 10) + (json_unit(at + 2) & 0x3ff);
        at += 6;
      }
      if (code < 0x80) {
        *out++ = (char)code;
        continue;
      }
      if (code >= 0x10000) *out++ = (char)(0xf0 | code >> 18);
      if (code >= 0x10000) *out++ = (char)(0x80 | (code >> 12 & 0x3f));
      if (code < 0x10000 && code >= 0x800) *out++ = (char)(0xe0 | code >> 12);
      if (code < 0x800) *out++ = (char)(0xc0 | code >> 6);
      if (code >= 0x800) *out++ = (char)(0x80 | (code >> 6 & 0x3f));
      *out++ = (char)(0x80 | (code & 0x3f));
    }
  }
  *out = '\0';
  return made;
}

#endif
