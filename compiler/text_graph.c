/* text_graph.c -- graphs of the text form: values, nodes, subgraphs.
 *
 * Recursive descent; the only recursion is over subgraphs, which is limited. A name is a value of
 * the graph it stands in, or of one around it; one that nobody has defined so far is taken for a
 * value of this graph that comes later (the verifier tells when it never comes). Outputs are looked
 * up when the graph is complete, since they may be values of a graph around.
 */
#include "compiler/ctx.h"
#include "compiler/text.h"
#include "compiler/wire.h"
#include <string.h>

typedef struct named { /* a declaration: type name */
	const char *name;
	pai_type type; /* kind UNKNOWN: not given */
	size_t token;
} named;

typedef PAI_VEC(named) named_vec;
typedef PAI_VEC(const char *) name_vec;

/* ---- values ---- */

/* The value of this graph with that name, made when it is new. */
static pai_value *own(pai_graph *g, const char *name)
{
	pai_value *v = pai_map_get(g->names, name);
	return v ? v : pai_graph_add_value(g, name);
}

static pai_value *reference(pai_graph *g, const char *name)
{
	if (!*name)
		return NULL;
	pai_value *v = pai_graph_value(g, name);
	return v ? v : pai_graph_add_value(g, name);
}

static pai_status twice(text_parser *p, const char *name)
{
	return text_fail(&p->t, PAI_E_text_name, "\"%.80s\" is defined twice", name);
}

static pai_status declaration(text_parser *p, named *out)
{
	*out = (named){.type = {.rank = -1}};
	text_peek(&p->t);
	out->token = p->t.token;
	if (text_peek_type(&p->t))
		PAI_TRY(text_type(&p->t, &out->type));
	return text_name(&p->t, &out->name);
}

/* ( [type] name, ... ) */
static pai_status declarations(text_parser *p, char open, char close, named_vec *out)
{
	PAI_TRY(text_match(&p->t, open));
	if (text_accept(&p->t, close))
		return PAI_OK;
	do {
		named d;
		PAI_TRY(declaration(p, &d));
		PAI_PUSH(p->t.arena, *out, d);
	} while (text_accept(&p->t, ','));
	return text_match(&p->t, close);
}

static pai_status initializer(text_parser *p, pai_graph *g, const named *d)
{
	pai_value *v = own(g, d->name);
	if (v->init)
		return twice(p, d->name);
	PAI_TRY(text_tensor(&p->t, &d->type, v->name, &v->init));
	if (v->type.kind == PAI_TYPE_UNKNOWN)
		v->type = d->type;
	PAI_PUSH(p->t.arena, g->inits, v);
	return text_limit(&p->t, "initialisers", ++p->n_inits, p->t.ctx->limits.initializers);
}

/* Graph inputs; each may have a default: float[2] x = {1, 2} */
static pai_status inputs(text_parser *p, pai_graph *g)
{
	PAI_TRY(text_match(&p->t, '('));
	if (text_accept(&p->t, ')'))
		return PAI_OK;
	do {
		named d;
		PAI_TRY(declaration(p, &d));
		pai_value *v = own(g, d.name);
		if (v->is_input)
			return twice(p, d.name);
		v->is_input = true;
		v->type = d.type;
		PAI_PUSH(p->t.arena, g->inputs, v);
		if (text_accept(&p->t, '='))
			PAI_TRY(initializer(p, g, &d));
	} while (text_accept(&p->t, ','));
	return text_match(&p->t, ')');
}

typedef PAI_VEC(Onnx__ValueInfoProto *) info_vec;

/* A value that the text says something about, which its origin records. */
static void inner_value(text_parser *p, pai_graph *g, const named *d, info_vec *infos)
{
	pai_value *v = own(g, d->name);
	Onnx__ValueInfoProto *info = PAI_NEW(p->t.arena, Onnx__ValueInfoProto);
	onnx__value_info_proto__init(info);
	info->name = (char *)(uintptr_t)v->name;
	v->origin = info;
	if (d->type.kind != PAI_TYPE_UNKNOWN)
		v->type = d->type;
	PAI_PUSH(p->t.arena, *infos, info);
}

/* The list of the graph or function, in its order, kept where the writer of bytes looks for it. */
static void keep_infos(text_parser *p, pai_graph *g, const info_vec *infos)
{
	if (!infos->n)
		return;
	if (g->function && !g->outer) {
		Onnx__FunctionProto *f = (Onnx__FunctionProto *)(uintptr_t)g->function->origin;
		if (!f) {
			f = PAI_NEW(p->t.arena, Onnx__FunctionProto);
			onnx__function_proto__init(f);
		}
		f->n_value_info = (size_t)infos->n;
		f->value_info = infos->at;
		g->function->origin = f;
	} else {
		Onnx__GraphProto *f = PAI_NEW(p->t.arena, Onnx__GraphProto);
		onnx__graph_proto__init(f);
		f->n_value_info = (size_t)infos->n;
		f->value_info = infos->at;
		g->origin = f;
	}
}

/* < type name, type name = {...}, ... > : types of values inside, and initialisers. */
static pai_status values(text_parser *p, pai_graph *g, info_vec *infos)
{
	if (!text_accept(&p->t, '<') || text_accept(&p->t, '>'))
		return PAI_OK;
	bool function = g->function && !g->outer;
	do {
		named d;
		PAI_TRY(declaration(p, &d));
		if (!*d.name)
			return text_fail(&p->t, PAI_E_text_name, "a value needs a name here");
		if (!function && text_accept(&p->t, '='))
			PAI_TRY(initializer(p, g, &d));
		else
			inner_value(p, g, &d, infos);
	} while (text_accept(&p->t, ','));
	return text_match(&p->t, '>');
}

static void outputs(text_parser *p, pai_graph *g, const named_vec *decls)
{
	for (int i = 0; i < decls->n; i++) {
		const named *d = &decls->at[i];
		pai_value *v = reference(g, d->name);
		if (!v)
			v = own(g, d->name);
		if (v->graph == g) {
			v->is_output = true;
			if (d->type.kind != PAI_TYPE_UNKNOWN)
				v->type = d->type;
		}
		PAI_PUSH(p->t.arena, g->outputs, v);
	}
}

/* ---- nodes ---- */

/* Operands. "" or nothing before a comma is an omitted one; a comma at the end adds none. */
static pai_status operands(text_parser *p, name_vec *out)
{
	for (;;) {
		const char *name = "";
		int c = text_peek(&p->t);
		if (c == '"' || text_id_start(c))
			PAI_TRY(text_name(&p->t, &name));
		else if (c != ',')
			return PAI_OK;
		PAI_PUSH(p->t.arena, *out, name);
		PAI_TRY(text_limit(&p->t, "operands of a node", (uint64_t)out->n,
				   p->t.ctx->limits.inputs));
		if (!text_accept(&p->t, ','))
			return PAI_OK;
	}
}

/* domain.with.dots.Operator:overload */
static pai_status operator_name(text_parser *p, const char **domain, const char **op,
				const char **overload)
{
	*domain = *overload = "";
	PAI_TRY(text_name(&p->t, op));
	while (text_accept(&p->t, '.')) {
		*domain = **domain ? pai_arena_printf(p->t.arena, "%s.%s", *domain, *op) : *op;
		PAI_TRY(text_limit(&p->t, "bytes in a name", strlen(*domain),
				   p->t.ctx->limits.name_bytes));
		PAI_TRY(text_name(&p->t, op));
	}
	return text_accept(&p->t, ':') ? text_name(&p->t, overload) : PAI_OK;
}

static pai_status node_outputs(text_parser *p, pai_node *n, const name_vec *names)
{
	for (int i = 0; i < names->n; i++) {
		if (!*names->at[i])
			continue;
		pai_value *v = own(n->graph, names->at[i]);
		if (v->producer || v->is_input || v->init)
			return twice(p, v->name);
		v->producer = n;
		v->slot = i;
		n->out[i] = v;
	}
	return PAI_OK;
}

static void node_inputs(text_parser *p, pai_node *n, const name_vec *names)
{
	n->n_in = names->n;
	n->in = PAI_NEWS(p->t.arena, pai_value *, names->n);
	for (int i = 0; i < names->n; i++)
		n->in[i] = reference(n->graph, names->at[i]);
}

/* An attribute that the grammar has no form for is all in its annotation. */
static pai_status formless_attr(text_parser *p, pai_node *n, const text_attr_note *note)
{
	const Onnx__AttributeProto *from = note->origin;
	pai_attr a = {.name = note->name, .type = (pai_attr_type)from->type, .origin = from};
	if (a.type == PAI_ATTR_SPARSE_TENSOR && from->sparse_tensor)
		PAI_TRY(pai_import_sparse(p->t.ctx, p->t.arena, pai_at_attr(n, a.name),
					  from->sparse_tensor, &a.t));
	pai_attr *more = PAI_NEWS(p->t.arena, pai_attr, n->n_attrs + 1);
	pai_copy(more, n->attrs, sizeof *more * (size_t)n->n_attrs);
	more[n->n_attrs++] = a;
	n->attrs = more;
	return PAI_OK;
}

static bool is_formless(const text_attr_note *note)
{
	const Onnx__AttributeProto *from = note->origin;
	return !note->tensor &&
	       (from->type == PAI_ATTR_SPARSE_TENSOR || from->type == PAI_ATTR_TYPE_PROTOS);
}

static void tensor_note(pai_tensor *t, const void *origin)
{
	const Onnx__TensorProto *from = origin;
	t->origin = from;
	if (from->name)
		t->name = from->name;
}

static pai_status apply_notes(text_parser *p, pai_node *n, const text_node_notes *notes)
{
	n->props = notes->props;
	n->origin = notes->origin;
	for (int i = 0; i < notes->attrs.n; i++) {
		const text_attr_note *note = &notes->attrs.at[i];
		pai_attr *a = (pai_attr *)(uintptr_t)pai_node_attr(n, note->name);
		bool has_tensor = a && a->type == PAI_ATTR_TENSOR && a->t;
		if (!a && is_formless(note))
			PAI_TRY(formless_attr(p, n, note));
		else if (!a || (note->tensor && !has_tensor))
			return text_fail(
				&p->t, PAI_E_text_annotation, "the node has no %s \"%.80s\"",
				note->tensor ? "tensor attribute" : "attribute", note->name);
		else if (note->tensor)
			tensor_note(a->t, note->origin);
		else
			a->origin = note->origin;
	}
	return PAI_OK;
}

static pai_status node(text_parser *p, pai_graph *g, const text_node_notes *notes)
{
	name_vec outs = {0}, ins = {0};
	const char *name = "", *domain, *op, *overload;
	if (text_accept(&p->t, '[')) {
		if (text_peek(&p->t) != ']')
			PAI_TRY(text_name(&p->t, &name));
		PAI_TRY(text_match(&p->t, ']'));
	}
	PAI_TRY(operands(p, &outs));
	PAI_TRY(text_match(&p->t, '='));
	PAI_TRY(operator_name(p, &domain, &op, &overload));
	PAI_TRY(text_limit(&p->t, "nodes", ++p->n_nodes, p->t.ctx->limits.nodes));
	pai_node *n = pai_graph_add_node(g, domain, op, 0, outs.n);
	n->name = name;
	n->overload = overload;
	PAI_TRY(text_attributes(p, g, n));
	PAI_TRY(text_match(&p->t, '('));
	PAI_TRY(operands(p, &ins));
	PAI_TRY(text_match(&p->t, ')'));
	if (!n->n_attrs)
		PAI_TRY(text_attributes(p, g, n));
	node_inputs(p, n, &ins);
	PAI_TRY(node_outputs(p, n, &outs));
	return apply_notes(p, n, notes);
}

static pai_status nodes(text_parser *p, pai_graph *g)
{
	PAI_TRY(text_match(&p->t, '{'));
	for (;;) {
		text_node_notes notes = {0};
		int c = text_peek(&p->t);
		PAI_TRY(text_read_notes(&p->t, p->m, g, &notes));
		if (c == '}' && notes.any)
			return text_fail(&p->t, PAI_E_text_annotation,
					 "an annotation about a node, but no node follows");
		if (text_accept(&p->t, '}'))
			return PAI_OK;
		PAI_TRY(node(p, g, &notes));
	}
}

pai_status text_graph(text_parser *p, pai_graph *g)
{
	named_vec outs = {0};
	info_vec infos = {0};
	PAI_TRY(inputs(p, g));
	PAI_TRY(text_match2(&p->t, "=>"));
	PAI_TRY(declarations(p, '(', ')', &outs));
	PAI_TRY(values(p, g, &infos));
	keep_infos(p, g, &infos);
	PAI_TRY(nodes(p, g));
	outputs(p, g, &outs);
	return PAI_OK;
}

pai_status text_subgraph(text_parser *p, pai_graph *outer, pai_node *owner, pai_graph **out)
{
	const char *name;
	PAI_TRY(text_limit(&p->t, "nested subgraphs", (uint64_t)++p->t.depth,
			   p->t.ctx->limits.subgraph_depth));
	PAI_TRY(text_name(&p->t, &name));
	pai_graph *g = pai_graph_new(p->m, outer, owner, name);
	g->function = outer ? outer->function : NULL;
	*out = g;
	PAI_TRY(text_graph(p, g));
	p->t.depth--;
	return PAI_OK;
}

pai_status text_function_graph(text_parser *p, pai_graph *g)
{
	named_vec ins = {0}, outs = {0};
	info_vec infos = {0};
	PAI_TRY(declarations(p, '(', ')', &ins));
	for (int i = 0; i < ins.n; i++) {
		pai_value *v = own(g, ins.at[i].name);
		if (v->is_input)
			return twice(p, v->name);
		v->is_input = true;
		if (ins.at[i].type.kind != PAI_TYPE_UNKNOWN)
			inner_value(p, g, &ins.at[i], &infos);
		PAI_PUSH(p->t.arena, g->inputs, v);
	}
	PAI_TRY(text_match2(&p->t, "=>"));
	PAI_TRY(declarations(p, '(', ')', &outs));
	for (int i = 0; i < outs.n; i++)
		if (outs.at[i].type.kind != PAI_TYPE_UNKNOWN)
			inner_value(p, g, &outs.at[i], &infos);
	PAI_TRY(values(p, g, &infos));
	keep_infos(p, g, &infos);
	PAI_TRY(nodes(p, g));
	outputs(p, g, &outs);
	return PAI_OK;
}
