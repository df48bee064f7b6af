/* dim.c -- symbolic sizes.
 *
 * A size that is not a plain number is a polynomial with integer coefficients over symbols, kept in
 * one canonical form and stored once per context; a pai_dim < 0 is its place in that store, so that
 * equal handles mean equal sizes. Terms stand by falling degree, equal degrees by the symbols they
 * are made of. A floor division that does not come out even is a symbol too: its text names what is
 * divided by what, and the symbol remembers both, so that floor(floor(x/a)/b) meets floor(x/(a*b)).
 * There is no knowledge of ranges beyond sizes being non-negative. Whatever overflows or grows past
 * a fixed bound is unknown.
 */
#include "compiler/ctx.h"
#include <string.h>

enum { MAX_TERMS = 32, MAX_DEGREE = 8, MAX_TEXT = 400 };

typedef struct term {
	int64_t coef;           /* not 0 */
	int degree;             /* symbols used; 0: the constant term, always last */
	int symbol[MAX_DEGREE]; /* ascending */
} term;

typedef struct poly {
	int n;
	const term *terms;
	const char *text; /* made when asked for */
} poly;

typedef struct symbol {
	const char *name;
	pai_dim whole,
		part; /* of a floor division by `part` (a known number); part 0: a plain one */
} symbol;

struct pai_dims {
	PAI_VEC(poly) polys;
	PAI_VEC(symbol) symbols;
	pai_map *by_name; /* name -> index of the symbol + 1 */
	int *slots;       /* hash table of indexes into polys, + 1; 0: free */
	size_t n_slots;   /* a power of two */
};

typedef struct work { /* a polynomial under construction */
	int n;
	bool failed; /* overflow, too many terms: the result is unknown */
	term at[MAX_TERMS];
} work;

static struct pai_dims *dims_of(pai_ctx *ctx)
{
	if (!ctx->own->dims) {
		ctx->own->dims = PAI_NEW(ctx->own->arena, struct pai_dims);
		ctx->own->dims->by_name = pai_map_new(ctx->own->arena);
	}
	return ctx->own->dims;
}

static const poly *poly_of(const pai_ctx *ctx, pai_dim d)
{
	return &ctx->own->dims->polys.at[-(d + 1)];
}

static int compare_terms(const term *a, const term *b)
{
	if (a->degree != b->degree)
		return b->degree - a->degree;
	for (int i = 0; i < a->degree; i++)
		if (a->symbol[i] != b->symbol[i])
			return a->symbol[i] - b->symbol[i];
	return 0;
}

static void work_add(work *w, const term *t)
{
	int i = 0;
	if (t->coef == 0 || w->failed)
		return;
	if (t->coef == INT64_MIN) { /* so that every coefficient can be negated */
		w->failed = true;
		return;
	}
	while (i < w->n && compare_terms(&w->at[i], t) < 0)
		i++;
	if (i < w->n && compare_terms(&w->at[i], t) == 0) {
		if (__builtin_add_overflow(w->at[i].coef, t->coef, &w->at[i].coef) ||
		    w->at[i].coef == INT64_MIN)
			w->failed = true;
		else if (w->at[i].coef == 0) {
			w->n--;
			memmove(&w->at[i], &w->at[i + 1], sizeof *t * (size_t)(w->n - i));
		}
		return;
	}
	if (w->n == MAX_TERMS) {
		w->failed = true;
		return;
	}
	memmove(&w->at[i + 1], &w->at[i], sizeof *t * (size_t)(w->n - i));
	w->at[i] = *t;
	w->n++;
}

/* Adds factor * d. */
static void work_add_dim(const pai_ctx *ctx, work *w, pai_dim d, const term *factor)
{
	const term constant = {.coef = d};
	const poly number = {.n = d != 0, .terms = &constant};
	const poly *p = d >= 0 ? &number : poly_of(ctx, d);
	for (int i = 0; i < p->n; i++) {
		term t = *factor;
		if (__builtin_mul_overflow(t.coef, p->terms[i].coef, &t.coef) ||
		    t.degree + p->terms[i].degree > MAX_DEGREE) {
			w->failed = true;
			return;
		}
		for (int k = 0; k < p->terms[i].degree; k++) { /* merge, ascending */
			int at = t.degree++;
			for (; at > 0 && t.symbol[at - 1] > p->terms[i].symbol[k]; at--)
				t.symbol[at] = t.symbol[at - 1];
			t.symbol[at] = p->terms[i].symbol[k];
		}
		work_add(w, &t);
	}
}

static size_t hash_terms(int n, const term *terms)
{
	uint64_t h = PAI_HASH;
	for (int i = 0; i < n; i++) {
		const term *t = &terms[i];
		h = pai_hash(h, &t->coef, sizeof t->coef);
		h = pai_hash(h, t->symbol, sizeof *t->symbol * (size_t)t->degree);
	}
	return (size_t)(h ^ h >> 32);
}

static bool same_terms(const poly *p, int n, const term *terms)
{
	if (p->n != n)
		return false;
	for (int i = 0; i < n; i++)
		if (p->terms[i].coef != terms[i].coef ||
		    compare_terms(&p->terms[i], &terms[i]) != 0)
			return false;
	return true;
}

static int *find_slot(struct pai_dims *d, int n, const term *terms)
{
	size_t i = hash_terms(n, terms) & (d->n_slots - 1);
	while (d->slots[i] && !same_terms(&d->polys.at[d->slots[i] - 1], n, terms))
		i = (i + 1) & (d->n_slots - 1);
	return &d->slots[i];
}

static void grow_slots(pai_arena *a, struct pai_dims *d)
{
	d->n_slots = d->n_slots ? 2 * d->n_slots : 64;
	d->slots = PAI_NEWS(a, int, d->n_slots);
	for (int i = 0; i < d->polys.n; i++)
		*find_slot(d, d->polys.at[i].n, d->polys.at[i].terms) = i + 1;
}

/* The handle of a finished polynomial, or the number it is. */
static pai_dim finish(pai_ctx *ctx, const work *w)
{
	struct pai_dims *d = dims_of(ctx);
	pai_arena *a = ctx->own->arena;
	if (w->failed)
		return PAI_DIM_UNKNOWN;
	if (w->n == 0)
		return 0;
	if (w->n == 1 && w->at[0].degree == 0 && w->at[0].coef > 0)
		return w->at[0].coef;
	if ((size_t)d->polys.n * 2 >= d->n_slots)
		grow_slots(a, d);
	int *slot = find_slot(d, w->n, w->at);
	if (!*slot) {
		poly p = {.n = w->n, .terms = pai_arena_dup(a, w->at, sizeof(term) * (size_t)w->n)};
		PAI_PUSH(a, d->polys, p);
		*slot = d->polys.n;
	}
	return -(pai_dim)*slot;
}

static pai_dim symbol_new(pai_ctx *ctx, const char *name, pai_dim whole, pai_dim part)
{
	struct pai_dims *d = dims_of(ctx);
	intptr_t index = (intptr_t)pai_map_get(d->by_name, name);
	if (!index) {
		symbol s = {pai_arena_strdup(ctx->own->arena, name), whole, part};
		PAI_PUSH(ctx->own->arena, d->symbols, s);
		index = d->symbols.n;
		pai_map_put(d->by_name, s.name, (void *)index);
	}
	const work w = {.n = 1, .at = {{.coef = 1, .degree = 1, .symbol = {(int)index - 1}}}};
	return finish(ctx, &w);
}

pai_dim pai_dim_symbol(pai_ctx *ctx, const char *name)
{
	return symbol_new(ctx, name, 0, 0);
}

pai_dim pai_dim_int(pai_ctx *ctx, int64_t v)
{
	if (v >= 0)
		return v;
	if (v == INT64_MIN)
		return PAI_DIM_UNKNOWN;
	const work w = {.n = 1, .at = {{.coef = v}}};
	return finish(ctx, &w);
}

bool pai_dim_const(const pai_ctx *ctx, pai_dim d, int64_t *out)
{
	if (d == PAI_DIM_UNKNOWN)
		return false;
	if (d < 0) {
		const poly *p = poly_of(ctx, d);
		if (p->n != 1 || p->terms[0].degree)
			return false;
		d = p->terms[0].coef;
	}
	*out = d;
	return true;
}

bool pai_dim_equal(pai_dim a, pai_dim b)
{
	return a == b && a != PAI_DIM_UNKNOWN;
}

bool pai_dim_at_least(const pai_ctx *ctx, pai_dim d, int64_t bound)
{
	if (d >= 0 || d == PAI_DIM_UNKNOWN)
		return d >= bound && d >= 0;
	const poly *p = poly_of(ctx, d);
	int64_t least = 0;
	for (int i = 0; i < p->n; i++) {
		const term *t = &p->terms[i];
		bool floors = false;
		for (int k = 0; k < t->degree; k++)
			floors |= ctx->own->dims->symbols.at[t->symbol[k]].part != 0;
		if ((t->degree && t->coef < 0) ||
		    (!floors && __builtin_add_overflow(least, t->coef, &least)))
			return false;
	}
	return least >= bound;
}

/* a + factor * b */
static pai_dim add_scaled(pai_ctx *ctx, pai_dim a, pai_dim b, int64_t factor)
{
	if (a == PAI_DIM_UNKNOWN || b == PAI_DIM_UNKNOWN)
		return PAI_DIM_UNKNOWN;
	work w = {.n = 0};
	const term one = {.coef = 1}, scale = {.coef = factor};
	work_add_dim(ctx, &w, a, &one);
	work_add_dim(ctx, &w, b, &scale);
	return finish(ctx, &w);
}

pai_dim pai_dim_add(pai_ctx *ctx, pai_dim a, pai_dim b)
{
	int64_t sum;
	if (a >= 0 && b >= 0)
		return __builtin_add_overflow(a, b, &sum) ? PAI_DIM_UNKNOWN : sum;
	return add_scaled(ctx, a, b, 1);
}

pai_dim pai_dim_sub(pai_ctx *ctx, pai_dim a, pai_dim b)
{
	if (a >= 0 && b >= 0)
		return pai_dim_int(ctx, a - b);
	return add_scaled(ctx, a, b, -1);
}

pai_dim pai_dim_mul(pai_ctx *ctx, pai_dim a, pai_dim b)
{
	int64_t product;
	if (a == PAI_DIM_UNKNOWN || b == PAI_DIM_UNKNOWN)
		return a == 0 || b == 0 ? 0 : PAI_DIM_UNKNOWN;
	if (a >= 0 && b >= 0)
		return __builtin_mul_overflow(a, b, &product) ? PAI_DIM_UNKNOWN : product;
	work w = {.n = 0};
	if (a >= 0) {
		const term t = {.coef = a};
		if (a)
			work_add_dim(ctx, &w, b, &t);
		return finish(ctx, &w);
	}
	const poly p = *poly_of(ctx, a);
	for (int i = 0; i < p.n; i++)
		work_add_dim(ctx, &w, b, &p.terms[i]);
	return finish(ctx, &w);
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* The symbol floor(whole/part): of the thing divided, where that is itself a division and at most
 * a number is added to it, floor((floor(P/a)+c)/b) = floor((P+c*a)/(a*b)). */
static pai_dim opaque_floor(pai_ctx *ctx, pai_dim whole, int64_t part)
{
	const struct pai_dims *d = dims_of(ctx);
	const poly *p = poly_of(ctx, whole);
	int64_t c = p->n == 2 && p->terms[1].degree == 0 ? p->terms[1].coef : 0;
	if (p->n - (c != 0) == 1 && p->terms[0].degree == 1 && p->terms[0].coef == 1) {
		const symbol s = d->symbols.at[p->terms[0].symbol[0]];
		int64_t both;
		if (s.part && !__builtin_mul_overflow(s.part, part, &both)) {
			pai_dim shift = pai_dim_mul(ctx, pai_dim_int(ctx, c), s.part);
			return pai_dim_div(ctx, pai_dim_add(ctx, s.whole, shift), both);
		}
	}
	const char *text = pai_dim_text(ctx, whole);
	if (strlen(text) > MAX_TEXT)
		return PAI_DIM_UNKNOWN;
	bool sum = p->n > 1;
	const char *name = pai_arena_printf(ctx->own->arena, "floor(%s%s%s/%lld)", sum ? "(" : "",
					    text, sum ? ")" : "", (long long)part);
	return symbol_new(ctx, name, whole, part);
}

pai_dim pai_dim_div(pai_ctx *ctx, pai_dim a, int64_t b)
{
	if (a == PAI_DIM_UNKNOWN || b <= 0)
		return PAI_DIM_UNKNOWN;
	if (a >= 0 || b == 1)
		return a / b;
	/* floor((b*Q + R)/b) = Q + floor(R/b), coefficients of R in [0, b) */
	work even = {.n = 0}, rest = {.n = 0};
	const poly p = *poly_of(ctx, a);
	for (int i = 0; i < p.n; i++) {
		term q = p.terms[i], r = p.terms[i];
		q.coef = floor_div(p.terms[i].coef, b);
		r.coef = p.terms[i].coef % b + (p.terms[i].coef % b < 0 ? b : 0);
		work_add(&even, &q);
		work_add(&rest, &r);
	}
	pai_dim whole = finish(ctx, &rest);
	pai_dim quotient = finish(ctx, &even);
	if (whole >= 0) /* a number below b, or nothing */
		return quotient;
	return pai_dim_add(ctx, quotient, opaque_floor(ctx, whole, b));
}

/* *out = a / b where b divides a; false: it does not. */
static bool divide_term(const term *a, const term *b, term *out)
{
	if (a->coef % b->coef != 0 || b->degree > a->degree)
		return false;
	*out = (term){.coef = a->coef / b->coef};
	int k = 0;
	for (int i = 0; i < a->degree; i++) {
		if (k < b->degree && a->symbol[i] == b->symbol[k])
			k++;
		else if (out->degree < MAX_DEGREE)
			out->symbol[out->degree++] = a->symbol[i];
	}
	return k == b->degree;
}

pai_dim pai_dim_div_dim(pai_ctx *ctx, pai_dim a, pai_dim b)
{
	int64_t x, y;
	if (a == PAI_DIM_UNKNOWN || b == PAI_DIM_UNKNOWN || b == 0)
		return PAI_DIM_UNKNOWN;
	if (pai_dim_const(ctx, a, &x) && pai_dim_const(ctx, b, &y))
		return x % y == 0 ? pai_dim_int(ctx, x / y) : PAI_DIM_UNKNOWN;
	if (a == 0)
		return 0;
	/* Long division by the leading term; terms are ordered, so it comes to an end. */
	const term constant = {.coef = b};
	const term lead = b >= 0 ? constant : poly_of(ctx, b)->terms[0];
	work quotient = {.n = 0};
	pai_dim rest = a;
	for (int step = 0; step < MAX_TERMS && rest != 0; step++) {
		const term number = {.coef = rest};
		const term *first = rest >= 0 ? &number : poly_of(ctx, rest)->terms;
		term q;
		if (!divide_term(first, &lead, &q))
			return PAI_DIM_UNKNOWN;
		work_add(&quotient, &q);
		const work one = {.n = 1, .at = {q}};
		rest = pai_dim_sub(ctx, rest, pai_dim_mul(ctx, finish(ctx, &one), b));
		if (rest == PAI_DIM_UNKNOWN)
			return PAI_DIM_UNKNOWN;
	}
	return rest == 0 ? finish(ctx, &quotient) : PAI_DIM_UNKNOWN;
}

static const char *term_text(pai_ctx *ctx, const term *t, bool first)
{
	pai_arena *a = ctx->own->arena;
	const symbol *symbols = dims_of(ctx)->symbols.at;
	const char *sign = t->coef < 0 ? "-" : first ? "" : "+";
	unsigned long long size =
		t->coef < 0 ? -(unsigned long long)t->coef : (unsigned long long)t->coef;
	const char *text =
		t->degree && size == 1 ? sign : pai_arena_printf(a, "%s%llu", sign, size);
	for (int i = 0; i < t->degree; i++)
		text = pai_arena_printf(a, "%s%s%s", text, i || size != 1 ? "*" : "",
					symbols[t->symbol[i]].name);
	return text;
}

const char *pai_dim_text(pai_ctx *ctx, pai_dim d)
{
	pai_arena *a = ctx->own->arena;
	if (d == PAI_DIM_UNKNOWN)
		return "?";
	if (d >= 0)
		return pai_arena_printf(a, "%lld", (long long)d);
	poly *p = &ctx->own->dims->polys.at[-(d + 1)];
	if (!p->text) {
		const char *text = "";
		for (int i = 0; i < p->n; i++)
			text = pai_arena_printf(a, "%s%s", text,
						term_text(ctx, &p->terms[i], i == 0));
		p->text = text;
	}
	return p->text;
}
