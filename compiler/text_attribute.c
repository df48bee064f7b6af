/* text_attribute.c -- attributes of the text form: name: type = value, where the type may be left
 * to the operator's row and to how the value is written.
 */
#include "compiler/text.h"
#include "compiler/wire.h"
#include <string.h>

const char *const text_attr_types[15] = {
	"undefined",      "float",      "int",         "string",  "tensor", "graph",
	"floats",         "ints",       "strings",     "tensors", "graphs", "sparse_tensor",
	"sparse_tensors", "type_proto", "type_protos",
};

static pai_attr_type single_type(pai_attr_type list)
{
	static const pai_attr_type of[15] = {
		[PAI_ATTR_FLOATS] = PAI_ATTR_FLOAT,   [PAI_ATTR_INTS] = PAI_ATTR_INT,
		[PAI_ATTR_STRINGS] = PAI_ATTR_STRING, [PAI_ATTR_TENSORS] = PAI_ATTR_TENSOR,
		[PAI_ATTR_GRAPHS] = PAI_ATTR_GRAPH,
	};
	return of[list];
}

static pai_attr_type list_type(pai_attr_type single)
{
	for (int i = 0; i < 15; i++)
		if (single && single_type((pai_attr_type)i) == single)
			return (pai_attr_type)i;
	return PAI_ATTR_UNDEFINED;
}

static pai_status attr_tensor_or_type(text_parser *p, pai_attr *a)
{
	pai_type type = {.rank = -1};
	const char *name = NULL;
	PAI_TRY(text_type(&p->t, &type));
	int c = text_peek(&p->t);
	if (c != '{' && c != '=' && c != '[' && c != '"' && !text_id_start(c)) {
		a->type = PAI_ATTR_TYPE_PROTO;
		a->type_value = pai_arena_dup(p->t.arena, &type, sizeof type);
		return PAI_OK;
	}
	if (c == '"' || text_id_start(c))
		PAI_TRY(text_name(&p->t, &name));
	text_accept(&p->t, '=');
	a->type = PAI_ATTR_TENSOR;
	return text_tensor(&p->t, &type, name, &a->t);
}

static pai_status attr_number(text_parser *p, pai_attr *a, pai_attr_type expected)
{
	text_num num;
	PAI_TRY(text_number(&p->t, &num));
	if (!num.is_float && expected != PAI_ATTR_FLOAT) {
		a->type = PAI_ATTR_INT;
		return text_num_int(&p->t, num, &a->i);
	}
	a->type = PAI_ATTR_FLOAT;
	return text_num_float(&p->t, num, &a->f);
}

static pai_status attr_graph(text_parser *p, pai_graph *g, pai_node *n, pai_attr *a)
{
	a->type = PAI_ATTR_GRAPH;
	return text_subgraph(p, g, n, &a->g);
}

/* One value; `expected` is the type that was written before it, or UNDEFINED. */
static pai_status attr_value(text_parser *p, pai_graph *g, pai_node *n, pai_attr_type expected,
			     pai_attr *a)
{
	text_in *t = &p->t;
	if (text_accept(t, '@')) {
		a->type = expected;
		return text_name(t, &a->ref);
	}
	if (expected == PAI_ATTR_GRAPH)
		return attr_graph(p, g, n, a);
	if (text_peek(t) == '"') {
		a->type = PAI_ATTR_STRING;
		return text_string(t, &a->s);
	}
	if (text_peek_type(t))
		return attr_tensor_or_type(p, a);
	if (text_peek_number(t))
		return attr_number(p, a, expected);
	if (text_id_start(text_peek(t)))
		return attr_graph(p, g, n, a);
	return text_expected(t, "an attribute value");
}

/* A typed array from values of the same type. */
static void list_fill(pai_arena *arena, const pai_attr *at, int n, pai_attr *a)
{
	a->list.n = n;
	if (a->type == PAI_ATTR_FLOATS) {
		float *v = PAI_NEWS(arena, float, n);
		for (int i = 0; i < n; i++)
			v[i] = at[i].f;
		a->list.f = v;
	} else if (a->type == PAI_ATTR_INTS) {
		int64_t *v = PAI_NEWS(arena, int64_t, n);
		for (int i = 0; i < n; i++)
			v[i] = at[i].i;
		a->list.i = v;
	} else if (a->type == PAI_ATTR_STRINGS) {
		pai_str *v = PAI_NEWS(arena, pai_str, n);
		for (int i = 0; i < n; i++)
			v[i] = at[i].s;
		a->list.s = v;
	} else if (a->type == PAI_ATTR_TENSORS) {
		pai_tensor **v = PAI_NEWS(arena, pai_tensor *, n);
		for (int i = 0; i < n; i++)
			v[i] = at[i].t;
		a->list.t = v;
	} else {
		pai_graph **v = PAI_NEWS(arena, pai_graph *, n);
		for (int i = 0; i < n; i++)
			v[i] = at[i].g;
		a->list.g = v;
	}
}

static pai_status attr_list(text_parser *p, pai_graph *g, pai_node *n, pai_attr_type written,
			    pai_attr *a)
{
	PAI_VEC(pai_attr) items = {0};
	pai_attr_type expected = single_type(written);
	if (written && !expected)
		return text_fail(&p->t, PAI_E_text_attribute, "a list where the type is %s",
				 text_attr_types[written]);
	a->type = written;
	if (!text_accept(&p->t, ']')) {
		do {
			pai_attr item = {0};
			PAI_TRY(attr_value(p, g, n, expected, &item));
			if (item.ref || (expected && item.type != expected))
				return text_fail(&p->t, PAI_E_text_attribute,
						 "the list mixes types of values");
			expected = item.type;
			PAI_PUSH(p->t.arena, items, item);
		} while (text_accept(&p->t, ','));
		PAI_TRY(text_match(&p->t, ']'));
		a->type = list_type(expected);
	}
	if (!a->type)
		return text_fail(&p->t, PAI_E_text_attribute,
				 items.n ? "no attribute holds a list of these"
					 : "an empty list needs a type, as in axes: ints = []");
	list_fill(p->t.arena, items.at, items.n, a);
	return PAI_OK;
}

static pai_status attr_type(text_parser *p, pai_attr_type *out)
{
	for (int i = 1; i < 15; i++) {
		const char *id;
		if (!text_peek_is(&p->t, text_attr_types[i]))
			continue;
		*out = (pai_attr_type)i;
		return text_id(&p->t, &id);
	}
	return text_expected(&p->t, "an attribute type such as int, floats or graph");
}

/* What follows the name: [: type] = value */
pai_status text_attribute(text_parser *p, pai_graph *g, pai_node *n, pai_attr *a)
{
	pai_attr_type written = PAI_ATTR_UNDEFINED;
	if (text_accept(&p->t, ':'))
		PAI_TRY(attr_type(p, &written));
	PAI_TRY(text_match(&p->t, '='));
	if (text_accept(&p->t, '['))
		return attr_list(p, g, n, written, a);
	PAI_TRY(attr_value(p, g, n, written, a));
	if (written && a->type != written)
		return text_fail(&p->t, PAI_E_text_attribute, "the type says %s, the value is %s",
				 text_attr_types[written], text_attr_types[a->type]);
	return PAI_OK;
}

pai_status text_attributes(text_parser *p, pai_graph *g, pai_node *n)
{
	PAI_VEC(pai_attr) attrs = {0};
	if (!text_accept(&p->t, '<'))
		return PAI_OK;
	do {
		pai_attr a = {0};
		PAI_TRY(text_name(&p->t, &a.name));
		PAI_TRY(text_attribute(p, g, n, &a));
		PAI_PUSH(p->t.arena, attrs, a);
		PAI_TRY(text_limit(&p->t, "attributes of a node", (uint64_t)attrs.n,
				   p->t.ctx->limits.attributes));
	} while (text_accept(&p->t, ','));
	n->attrs = attrs.at;
	n->n_attrs = attrs.n;
	return text_match(&p->t, '>');
}
