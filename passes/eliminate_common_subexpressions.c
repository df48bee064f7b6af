/* eliminate_common_subexpressions.c -- nodes with equal operator, attributes and inputs become one.
 *
 * Nodes are visited in order; each is looked up by a hash of what it computes. Inputs count as
 * equal when they are the same value, or when an earlier merge of this round made them the same.
 */
#include "passes/passes.h"
#include <string.h>

enum { MERGED, NAMED_OUTPUT };

typedef struct table {
	const pai_node **at; /* open addressing */
	size_t cap;          /* power of two */
	pai_value **same_as; /* by value id: what an earlier merge made of it */
} table;

static const pai_value *canonical(const table *t, const pai_graph *g, const pai_value *v)
{
	while (v && v->graph == g && t->same_as[v->id])
		v = t->same_as[v->id];
	return v;
}

static uint64_t hash_node(const table *t, const pai_node *n)
{
	uint64_t h = pai_hash(PAI_HASH, n->op_type, strlen(n->op_type));
	for (int i = 0; i < n->n_in; i++) {
		const pai_value *v = canonical(t, n->graph, n->in[i]);
		int id = v ? v->id : -1;
		h = pai_hash(h, &id, sizeof id);
	}
	h = pai_hash(h, &n->n_attrs, sizeof n->n_attrs);
	return h ^ h >> 29;
}

static bool equal_str(pai_str x, pai_str y)
{
	return x.n == y.n && memcmp(x.at, y.at, x.n) == 0;
}

static uint32_t bits(float f)
{
	uint32_t b;
	memcpy(&b, &f, sizeof b);
	return b;
}

/* Graphs and types never count as equal; floats are compared by bits. */
static bool equal_attr(const pai_attr *x, const pai_attr *y)
{
	if (x->type != y->type || strcmp(x->name, y->name) != 0 || x->ref || y->ref)
		return false;
	switch (x->type) {
	case PAI_ATTR_FLOAT:
		return bits(x->f) == bits(y->f);
	case PAI_ATTR_INT:
		return x->i == y->i;
	case PAI_ATTR_STRING:
		return equal_str(x->s, y->s);
	case PAI_ATTR_TENSOR:
		return pai_tensor_equal(x->t, y->t);
	case PAI_ATTR_INTS:
	case PAI_ATTR_FLOATS: {
		size_t size = x->type == PAI_ATTR_INTS ? sizeof(int64_t) : sizeof(float);
		return x->list.n == y->list.n &&
		       (!x->list.n || memcmp(x->list.i, y->list.i, size * (size_t)x->list.n) == 0);
	}
	case PAI_ATTR_STRINGS:
		for (int64_t i = 0; x->list.n == y->list.n && i < x->list.n; i++)
			if (!equal_str(x->list.s[i], y->list.s[i]))
				return false;
		return x->list.n == y->list.n;
	default:
		return false;
	}
}

static bool equal_nodes(const table *t, const pai_node *x, const pai_node *y)
{
	if (strcmp(x->op_type, y->op_type) != 0 || strcmp(x->domain, y->domain) != 0 ||
	    x->n_in != y->n_in || x->n_out != y->n_out || x->n_attrs != y->n_attrs)
		return false;
	for (int i = 0; i < x->n_in; i++)
		if (canonical(t, x->graph, x->in[i]) != canonical(t, y->graph, y->in[i]))
			return false;
	for (int i = 0; i < x->n_out; i++)
		if (!x->out[i] != !y->out[i])
			return false;
	for (int i = 0; i < x->n_attrs; i++) {
		const pai_attr *a = pai_node_attr(y, x->attrs[i].name);
		if (!a || !equal_attr(&x->attrs[i], a))
			return false;
	}
	return true;
}

/* Known to compute the same each time; a function may hold something random. */
static bool is_pure(const pai_node *n)
{
	return n->op && !(n->op->traits & (PAI_TRAIT_RANDOM | PAI_TRAIT_CONTROL)) && n->n_in > 0 &&
	       !pai_has_role(n);
}

static bool can_merge(const pai_node *n, const pai_node *into)
{
	for (int i = 0; i < n->n_out; i++)
		if (n->out[i] && !pai_can_replace(n->out[i], into->out[i]))
			return false;
	return true;
}

static pai_status run(pai_pass_run *r, pai_patch *out, const pai_graph *g)
{
	table t = {.cap = 16, .same_as = PAI_NEWS(r->scratch, pai_value *, g->values.n)};
	while (t.cap < 2 * (size_t)g->nodes.n)
		t.cap *= 2;
	t.at = PAI_NEWS(r->scratch, const pai_node *, t.cap);
	for (int k = 0; k < g->nodes.n; k++) {
		pai_node *n = g->nodes.at[k];
		if (!is_pure(n) || (n->op->traits & PAI_TRAIT_FOLDS))
			continue;
		size_t i = hash_node(&t, n) & (t.cap - 1);
		while (t.at[i] && !equal_nodes(&t, t.at[i], n))
			i = (i + 1) & (t.cap - 1);
		const pai_node *first = t.at[i];
		if (!first) {
			t.at[i] = n;
			continue;
		}
		if (!can_merge(n, first)) {
			r->counts[NAMED_OUTPUT] += r->round == 0;
			continue;
		}
		pai_patch_begin(out, n, n->op_type);
		for (int o = 0; o < n->n_out; o++) {
			if (!n->out[o])
				continue;
			pai_patch_replace(out, n->out[o], first->out[o]);
			t.same_as[n->out[o]->id] = first->out[o];
		}
		pai_patch_erase(out, n);
		pai_patch_count(out, &r->counts[MERGED], 1);
	}
	return PAI_OK;
}

const pai_pass pai_pass_eliminate_common_subexpressions = {
	.name = "eliminate-common-subexpressions",
	.summary = "compute once what several nodes compute from the same inputs",
	.exactness = PAI_EXACT,
	.stats =
		(const char *const[]){
			[MERGED] = "merged", [NAMED_OUTPUT] = "kept: both are graph outputs", NULL},
	.run = run,
};
