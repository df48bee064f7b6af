/* export_text.c -- pai_model to a file of the text form.
 *
 * Contents outside the file follow the same modes as in export.c: written anew beside the output,
 * left where they are, or taken into the text.
 */
#include "compiler/text.h"
#include "compiler/wire.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct place { /* where a tensor is stored outside the text */
	const pai_tensor *tensor;
	uint64_t offset;
	const pai_props *entries;
} place;

typedef struct text_store {
	pai_arena *arena;
	pai_store store;
	PAI_VEC(place) places; /* sorted by tensor when complete */
} text_store;

static bool goes_out(pai_external_mode mode, const pai_tensor *t)
{
	enum { LARGE = 1024 };
	if (t->dtype == PAI_STRING || !t->data || !t->nbytes)
		return false;
	if (mode == PAI_EXTERNAL_FILE)
		return t->external || t->nbytes >= LARGE;
	return mode == PAI_EXTERNAL_KEEP && t->external;
}

static pai_status collect(void *payload, pai_where at, pai_tensor *t)
{
	text_store *s = payload;
	place p = {t, 0, NULL};
	(void)at;
	if (goes_out(s->store.mode, t)) {
		p.offset = pai_store_add(s->arena, &s->store, t);
		PAI_PUSH(s->arena, s->places, p);
	} else if (s->store.mode == PAI_EXTERNAL_SHARE && t->external) {
		PAI_PUSH(s->arena, s->places, p);
	}
	return PAI_OK;
}

static int by_tensor(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t)((const place *)a)->tensor;
	uintptr_t y = (uintptr_t)((const place *)b)->tensor;
	return x < y ? -1 : x > y;
}

/* The entries of a shared tensor, seen from the folder of the output. */
static const pai_props *shared(const text_store *s, const pai_tensor *t)
{
	pai_props *e = PAI_NEW(s->arena, pai_props);
	for (int i = 0; i < t->external->n; i++) {
		pai_prop p = t->external->at[i];
		if (strcmp(p.key, "location") == 0)
			p.value = pai_arena_printf(s->arena, "%s%s", s->store.prefix, p.value);
		PAI_PUSH(s->arena, *e, p);
	}
	return e;
}

static const pai_props *stored(const text_store *s, const place *p)
{
	pai_props *e = PAI_NEW(s->arena, pai_props);
	pai_prop_set(s->arena, e, "location", s->store.location);
	pai_prop_set(s->arena, e, "offset", pai_arena_printf(s->arena, "%" PRIu64, p->offset));
	pai_prop_set(s->arena, e, "length", pai_arena_printf(s->arena, "%zu", p->tensor->nbytes));
	return e;
}

static void complete(text_store *s)
{
	for (int i = 0; i < s->places.n; i++) {
		place *p = &s->places.at[i];
		bool share = s->store.mode == PAI_EXTERNAL_SHARE;
		p->entries = share ? shared(s, p->tensor) : stored(s, p);
	}
	if (s->places.n)
		qsort(s->places.at, (size_t)s->places.n, sizeof *s->places.at, by_tensor);
}

static const pai_props *entries(void *payload, const pai_tensor *t)
{
	const text_store *s = payload;
	const place key = {t, 0, NULL};
	if (!s->places.n)
		return NULL;
	const place *p = bsearch(&key, s->places.at, (size_t)s->places.n, sizeof key, by_tensor);
	return p ? p->entries : NULL;
}

static void put_text(void *payload, const char *s, size_t n)
{
	pai_writer_put(payload, s, n);
}

pai_status pai_text_write(const pai_model *m, const char *path, const char *prefix,
			  const pai_write_options *o)
{
	pai_arena *a = pai_arena_new(m->ctx);
	text_store s = {.arena = a, .store = {.mode = o->external, .prefix = prefix}};
	pai_writer *w = NULL;
	s.store.location = pai_arena_alloc(a, PAI_LOCATION);
	pai_status status = pai_model_each_tensor(m, collect, &s);
	if (status == PAI_OK)
		status = pai_store_write(m->ctx, &s.store, path, o->external_name);
	if (status == PAI_OK)
		status = pai_writer_open(m->ctx, path, &w);
	if (status == PAI_OK) {
		complete(&s);
		const text_entries from = {entries, &s};
		text_print_stored(m, &from, w, put_text);
		status = pai_writer_commit(w);
	}
	pai_arena_free(a);
	return status;
}
