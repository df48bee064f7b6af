/* onnx_bytes.h -- protobuf bytes by hand, for files that no library writes, and a context whose
 * memory is counted. */
#ifndef ONNX_BYTES_H
#define ONNX_BYTES_H

#include "compiler/compiler.h"
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

typedef struct bytes { /* filled from the end, so that a length is known before it is written */
	uint8_t *at;
	size_t cap, n;
} bytes;

static inline void bytes_put(bytes *b, const void *from, size_t n)
{
	if (b->cap - b->n < n) {
		size_t cap = 2 * b->cap + n + 64;
		uint8_t *more = malloc(cap);
		if (b->n)
			memcpy(more + cap - b->n, b->at + b->cap - b->n, b->n);
		free(b->at);
		b->at = more;
		b->cap = cap;
	}
	b->n += n;
	if (n)
		memcpy(b->at + b->cap - b->n, from, n);
}

static inline const uint8_t *bytes_data(const bytes *b)
{
	return b->at + b->cap - b->n;
}

static inline void bytes_varint(bytes *b, uint64_t v)
{
	uint8_t s[10];
	size_t n = 0;
	for (; v > 127; v >>= 7)
		s[n++] = (uint8_t)(v | 0x80);
	s[n++] = (uint8_t)v;
	bytes_put(b, s, n);
}

static inline void bytes_tag(bytes *b, unsigned field, unsigned wire)
{
	bytes_varint(b, field << 3 | wire);
}

static inline void bytes_number(bytes *b, unsigned field, uint64_t v)
{
	bytes_varint(b, v);
	bytes_tag(b, field, 0);
}

/* Makes all that was put since `before` (b->n then) one field. */
static inline void bytes_wrap(bytes *b, unsigned field, size_t before)
{
	bytes_varint(b, b->n - before);
	bytes_tag(b, field, 2);
}

static inline void bytes_field(bytes *b, unsigned field, const void *from, size_t n)
{
	bytes_put(b, from, n);
	bytes_varint(b, n);
	bytes_tag(b, field, 2);
}

static inline void bytes_text(bytes *b, unsigned field, const char *s)
{
	bytes_field(b, field, s, strlen(s));
}

typedef struct counted { /* memory in use, the most so far, and which call fails */
	size_t now, most;
	long calls, fail_at; /* 0: none */
	bool sticky;
	void **live; /* what was handed out and not given back */
	size_t n_live, cap_live;
} counted;

static inline void *counted_alloc(void *payload, size_t n)
{
	counted *c = payload;
	c->calls++;
	if (c->fail_at && (c->sticky ? c->calls >= c->fail_at : c->calls == c->fail_at))
		return NULL;
	void *p = malloc(n);
	c->now += malloc_usable_size(p);
	if (c->now > c->most)
		c->most = c->now;
	if (c->n_live == c->cap_live) {
		c->cap_live = 2 * c->cap_live + 64;
		c->live = realloc(c->live, c->cap_live * sizeof *c->live);
	}
	c->live[c->n_live++] = p;
	return p;
}

static inline void counted_free(void *payload, void *p)
{
	counted *c = payload;
	if (!p)
		return;
	c->now -= malloc_usable_size(p);
	for (size_t i = c->n_live; i-- > 0;) {
		if (c->live[i] != p)
			continue;
		c->live[i] = c->live[--c->n_live];
		break;
	}
	free(p);
}

#endif
