/* arena.c -- memory that is freed all at once, a string table in it, and checked size arithmetic.
 *
 * An arena is a list of blocks that objects are cut from. Under AddressSanitizer every object gets
 * a block of its own, so that an overrun of one object into the next is seen.
 */
#include "compiler/compiler.h"
#include <assert.h>
#include <stdalign.h>
#include <string.h>

enum { BLOCK = 64 * 1024, ALIGN = 16, BULK_ALIGN = 64 };

typedef struct block {
	struct block *next;
	size_t used, size; /* of the bytes behind this header */
} block;

typedef struct release {
	struct release *next;
	void (*fn)(void *p);
	void *p;
} release;

struct pai_arena {
	pai_ctx *ctx;
	block *blocks;
	release *releases; /* last registered first */
};

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

static size_t header_size(void)
{
	return round_up(sizeof(block), ALIGN);
}

static void *get(pai_ctx *ctx, size_t n)
{
	return ctx->allocator->alloc(ctx->allocator->payload, n);
}

static block *add_block(pai_arena *a, size_t size)
{
	block *b = size > SIZE_MAX / 2 ? NULL : get(a->ctx, header_size() + size);
	if (!b)
		return NULL;
	b->size = size;
	b->used = 0;
	b->next = a->blocks;
	a->blocks = b;
	return b;
}

pai_arena *pai_arena_new(pai_ctx *ctx)
{
	pai_arena *a = get(ctx, sizeof *a);
	if (!a) {
		ctx->on_oom(ctx, sizeof *a);
		assert(!"on_oom must not return");
	}
	*a = (pai_arena){.ctx = ctx};
	return a;
}

void pai_arena_free(pai_arena *a)
{
	if (!a)
		return;
	const pai_allocator *m = a->ctx->allocator;
	for (release *r = a->releases; r; r = r->next)
		r->fn(r->p);
	for (block *b = a->blocks, *next; b; b = next) {
		next = b->next;
		m->free(m->payload, b);
	}
	m->free(m->payload, a);
}

static size_t block_size_for(size_t n)
{
#if defined(__SANITIZE_ADDRESS__)
	return n;
#else
	return n > BLOCK / 4 ? n : BLOCK;
#endif
}

void *pai_arena_alloc(pai_arena *a, size_t nbytes)
{
	size_t n = nbytes > SIZE_MAX / 4 ? nbytes : round_up(nbytes ? nbytes : 1, ALIGN);
	block *b = a->blocks;
	if (!b || b->size - b->used < n) {
		size_t size = block_size_for(n);
		block *current = a->blocks;
		b = add_block(a, size);
		if (!b) {
			a->ctx->on_oom(a->ctx, nbytes);
			assert(!"on_oom must not return");
		}
		if (size != BLOCK && current) { /* keep cutting from the block with room left */
			b->next = current->next;
			current->next = b;
			a->blocks = current;
		}
	}
	void *p = (char *)b + header_size() + b->used;
	b->used += n;
	return memset(p, 0, n);
}

void *pai_arena_bulk(pai_arena *a, size_t nbytes)
{
	if (nbytes > SIZE_MAX / 4)
		return NULL;
	block *current = a->blocks, *b = add_block(a, nbytes + BULK_ALIGN);
	if (!b)
		return NULL;
	b->used = b->size;
	if (current) {
		b->next = current->next;
		current->next = b;
		a->blocks = current;
	}
	uintptr_t at = (uintptr_t)b + header_size();
	return (void *)round_up(at, BULK_ALIGN);
}

char *pai_arena_strndup(pai_arena *a, const char *s, size_t n)
{
	size_t len = strnlen(s, n);
	char *copy = pai_arena_alloc(a, len + 1);
	pai_copy(copy, s, len);
	return copy;
}

char *pai_arena_strdup(pai_arena *a, const char *s)
{
	return s ? pai_arena_strndup(a, s, strlen(s)) : NULL;
}

void *pai_arena_dup(pai_arena *a, const void *p, size_t nbytes)
{
	void *copy = pai_arena_alloc(a, nbytes);
	pai_copy(copy, p, nbytes);
	return copy;
}

char *pai_arena_printf(pai_arena *a, const char *fmt, ...)
{
	va_list args, again;
	va_start(args, fmt);
	va_copy(again, args);
	int n = vsnprintf(NULL, 0, fmt, args);
	char *s = pai_arena_alloc(a, (size_t)(n > 0 ? n : 0) + 1);
	vsnprintf(s, (size_t)(n > 0 ? n : 0) + 1, fmt, again);
	va_end(again);
	va_end(args);
	return s;
}

void pai_arena_defer(pai_arena *a, void (*fn)(void *p), void *p)
{
	release *r = PAI_NEW(a, release);
	*r = (release){a->releases, fn, p};
	a->releases = r;
}

void pai_copy(void *to, const void *from, size_t nbytes)
{
	if (nbytes)
		memcpy(to, from, nbytes);
}

bool pai_size_mul(size_t a, size_t b, size_t *out)
{
	return !__builtin_mul_overflow(a, b, out);
}

bool pai_size_add(size_t a, size_t b, size_t *out)
{
	return !__builtin_add_overflow(a, b, out);
}

uint64_t pai_hash(uint64_t h, const void *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		h = (h ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3u;
	return h;
}

/* Open addressing, doubled when three quarters full. The hash depends on where the map lies, so
 * that no file can choose names that collide; nothing may depend on the order of entries. */
typedef struct entry {
	const char *key;
	void *value;
	uint64_t hash;
} entry;

struct pai_map {
	pai_arena *arena;
	entry *at;
	size_t n, cap; /* cap is a power of two */
};

/* Eight bytes at a time: the two halves of a product, folded. */
static uint64_t hash_of(const pai_map *m, const char *s)
{
	const uint64_t odd = 0x9e3779b97f4a7c15u;
	uint64_t h = (uint64_t)(uintptr_t)m * odd;
	for (size_t n = strlen(s) + 1; n;) {
		size_t part = n < 8 ? n : 8;
		uint64_t word = 0;
		memcpy(&word, s, part);
		unsigned __int128 p = (unsigned __int128)(h ^ word ^ odd) * ((odd ^ h >> 1) | 1);
		h = (uint64_t)p ^ (uint64_t)(p >> 64);
		s += part;
		n -= part;
	}
	return h;
}

pai_map *pai_map_new(pai_arena *a)
{
	pai_map *m = PAI_NEW(a, pai_map);
	m->arena = a;
	return m;
}

static entry *find(const pai_map *m, const char *key, uint64_t hash)
{
	size_t i = hash & (m->cap - 1);
	while (m->at[i].key && (m->at[i].hash != hash || strcmp(m->at[i].key, key) != 0))
		i = (i + 1) & (m->cap - 1);
	return &m->at[i];
}

void *pai_map_get(const pai_map *m, const char *key)
{
	return m->cap ? find(m, key, hash_of(m, key))->value : NULL;
}

/* Frees what has a block of its own, as a large table does. */
static void give_back(pai_arena *a, const void *p, size_t nbytes)
{
	if (nbytes <= BLOCK / 4)
		return;
	for (block **b = &a->blocks; *b; b = &(*b)->next) {
		block *own = *b;
		if ((const char *)own + header_size() != p)
			continue;
		*b = own->next;
		a->ctx->allocator->free(a->ctx->allocator->payload, own);
		return;
	}
}

static void grow(pai_map *m)
{
	pai_map old = *m;
	m->cap = old.cap ? 2 * old.cap : 16;
	m->at = PAI_NEWS(m->arena, entry, m->cap);
	for (size_t i = 0; i < old.cap; i++)
		if (old.at[i].key)
			*find(m, old.at[i].key, old.at[i].hash) = old.at[i];
	give_back(m->arena, old.at, old.cap * sizeof *old.at);
}

void pai_map_put(pai_map *m, const char *key, void *value)
{
	if (m->n + 1 > m->cap / 4 * 3)
		grow(m);
	uint64_t hash = hash_of(m, key);
	entry *e = find(m, key, hash);
	m->n += !e->key;
	*e = (entry){key, value, hash};
}
