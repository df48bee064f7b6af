/* plan_memory.c -- where the contents of slots lie.
 *
 * Slots whose size is known share one arena. A slot holds its place from the step that first writes
 * it to the step that reads it last; places are given in the order of first writes, from the free
 * piece that fits best, so the layout is a function of the plan alone. Slots sized by a run have a
 * buffer each that only grows.
 */
#include "runtime/plan.h"
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { ALIGN = 64, HUGE_PAGE = 2 << 20 };

typedef struct piece { /* free memory */
	size_t offset, size;
} piece;

typedef struct pool {
	pai_arena *arena;
	PAI_VEC(piece) free; /* by offset, never adjacent */
	size_t end;          /* of the arena so far */
} pool;

static void remove_piece(pool *m, int i)
{
	for (m->free.n--; i < m->free.n; i++)
		m->free.at[i] = m->free.at[i + 1];
}

static size_t take(pool *m, size_t size)
{
	int best = -1;
	for (int i = 0; i < m->free.n; i++)
		if (m->free.at[i].size >= size &&
		    (best < 0 || m->free.at[i].size < m->free.at[best].size))
			best = i;
	if (best >= 0) {
		piece *f = &m->free.at[best];
		size_t at = f->offset;
		f->offset += size;
		f->size -= size;
		if (!f->size)
			remove_piece(m, best);
		return at;
	}
	/* A free piece at the end grows. */
	size_t at = m->end;
	int last = m->free.n - 1;
	if (last >= 0 && m->free.at[last].offset + m->free.at[last].size == m->end) {
		at = m->free.at[last].offset;
		m->free.n--;
	}
	m->end = at + size;
	return at;
}

static void give_back(pool *m, size_t offset, size_t size)
{
	int i = 0;
	while (i < m->free.n && m->free.at[i].offset < offset)
		i++;
	bool joins_next = i < m->free.n && offset + size == m->free.at[i].offset;
	bool joins_last = i > 0 && m->free.at[i - 1].offset + m->free.at[i - 1].size == offset;
	if (joins_last) {
		m->free.at[i - 1].size += size + (joins_next ? m->free.at[i].size : 0);
		if (joins_next)
			remove_piece(m, i);
	} else if (joins_next) {
		m->free.at[i].offset = offset;
		m->free.at[i].size += size;
	} else {
		PAI_PUSH(m->arena, m->free, ((piece){0, 0}));
		for (int k = m->free.n - 1; k > i; k--)
			m->free.at[k] = m->free.at[k - 1];
		m->free.at[i] = (piece){offset, size};
	}
}

static int by_first(const void *a, const void *b)
{
	const pai_slot *x = *(pai_slot *const *)a, *y = *(pai_slot *const *)b;
	return (x->first > y->first) - (x->first < y->first);
}

static int by_last(const void *a, const void *b)
{
	const pai_slot *x = *(pai_slot *const *)a, *y = *(pai_slot *const *)b;
	return (x->last > y->last) - (x->last < y->last);
}

static size_t padded(const pai_slot *s)
{
	size_t n = s->tensor.nbytes ? s->tensor.nbytes : 1;
	return (n + ALIGN - 1) / ALIGN * ALIGN;
}

static size_t place_all(pai_plan *p, pai_arena *temp)
{
	pai_slot **starts = PAI_NEWS(temp, pai_slot *, p->slots.n + 1);
	pai_slot **ends = PAI_NEWS(temp, pai_slot *, p->slots.n + 1);
	int n = 0;
	for (int i = 0; i < p->slots.n; i++) {
		pai_slot *s = p->slots.at[i];
		if (s->place != PAI_IN_ARENA || s->root != s || s->first < 0)
			continue;
		if (s->keep)
			s->last = INT_MAX;
		starts[n] = ends[n] = s;
		n++;
	}
	qsort(starts, (size_t)n, sizeof *starts, by_first);
	qsort(ends, (size_t)n, sizeof *ends, by_last);
	pool m = {.arena = temp};
	for (int i = 0, e = 0; i < n; i++) {
		for (; ends[e]->last < starts[i]->first; e++)
			give_back(&m, ends[e]->offset, padded(ends[e]));
		starts[i]->offset = take(&m, padded(starts[i]));
	}
	return m.end;
}

pai_status pai_plan_hold(pai_plan *p, pai_where at, size_t nbytes)
{
	PAI_TRY(pai_budget_take(p->ctx, at, nbytes));
	p->held += nbytes;
	return PAI_OK;
}

static pai_status get_memory(pai_plan *p)
{
	const pai_allocator *m = p->ctx->allocator;
	size_t align = p->bytes >= HUGE_PAGE ? HUGE_PAGE : ALIGN, whole;
	PAI_TRY(pai_plan_hold(p, pai_at_nothing(), p->bytes));
	if (!pai_size_add(p->bytes, align, &whole) || !(p->memory = m->alloc(m->payload, whole)))
		return pai_fail(p->ctx, PAI_E_memory, pai_at_nothing(),
				"no memory for the tensors of a run, %zu bytes", p->bytes);
	p->at = (uint8_t *)(((uintptr_t)p->memory + align - 1) / align * align);
	if (align == HUGE_PAGE)
		(void)madvise(p->at, p->bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
	return PAI_OK;
}

pai_status pai_plan_layout(pai_plan *p)
{
	pai_arena *temp = pai_arena_new(p->ctx);
	/* A slot that shares memory lengthens the life of whose it is. */
	for (int i = 0; i < p->slots.n; i++) {
		pai_slot *s = p->slots.at[i];
		while (s->root != s->root->root)
			s->root = s->root->root;
		s->root->keep |= s->keep;
	}
	p->bytes = place_all(p, temp);
	pai_arena_free(temp);
	PAI_TRY(get_memory(p));
	for (int i = 0; i < p->slots.n; i++) {
		pai_slot *s = p->slots.at[i];
		if (s->place == PAI_IN_ARENA && s->root == s && s->first >= 0)
			s->tensor.data = p->at + s->offset;
	}
	for (int i = 0; i < p->slots.n; i++) {
		pai_slot *s = p->slots.at[i];
		if (s->root == s)
			continue;
		s->tensor.data = s->root->tensor.data;
		if (s->root->place == PAI_IN_INPUT)
			PAI_PUSH(p->arena, p->views, s);
	}
	return PAI_OK;
}

pai_status pai_slot_reserve(pai_plan *p, pai_slot *s, size_t nbytes)
{
	const pai_allocator *m = p->ctx->allocator;
	if (s->buffer && nbytes <= s->buffer_bytes)
		return PAI_OK;
	if (s->buffer)
		m->free(m->payload, s->buffer);
	s->buffer = NULL;
	pai_budget_give(p->ctx, s->buffer_bytes);
	p->held -= s->buffer_bytes;
	s->buffer_bytes = 0;
	PAI_TRY(pai_plan_hold(p, s->value ? pai_at_value(s->value) : pai_at_nothing(), nbytes));
	s->buffer_bytes = nbytes;
	s->buffer = m->alloc(m->payload, nbytes ? nbytes : 1);
	if (!s->buffer)
		return pai_fail(p->ctx, PAI_E_memory, pai_at_nothing(),
				"no memory for a tensor of %zu bytes", nbytes);
	return PAI_OK;
}

void pai_plan_release(pai_plan *p)
{
	const pai_allocator *m = p->ctx->allocator;
	for (int i = 0; i < p->slots.n; i++)
		if (p->slots.at[i]->buffer)
			m->free(m->payload, p->slots.at[i]->buffer);
	if (p->memory)
		m->free(m->payload, p->memory);
	pai_budget_give(p->ctx, p->held);
}
