/* text_print.c -- writes the text form.
 *
 * What is written is a function of the model alone, reads back to an equal model here, and is taken
 * by ONNX's own parser as far as that knows the features. One initialiser, value or node a line, so
 * that line-wise diffs are useful; the tokens are those of ONNX's printer.
 */
#include "compiler/text.h"
#include "compiler/wire.h"
#include <inttypes.h>
#include <string.h>

typedef struct out {
	pai_ctx *ctx;
	pai_arena *scratch;
	const text_entries *stored; /* NULL: where the model says */
	int64_t elide;
	int depth; /* of indentation */
	void *payload;
	void (*put)(void *payload, const char *s, size_t n);
	size_t n;
	char buf[4096];
} out;

/* ---- characters ---- */

static void flush(out *o)
{
	if (o->n)
		o->put(o->payload, o->buf, o->n);
	o->n = 0;
}

static void put(out *o, const char *s, size_t n)
{
	if (n > sizeof o->buf - o->n)
		flush(o);
	if (n > sizeof o->buf) {
		o->put(o->payload, s, n);
		return;
	}
	memcpy(o->buf + o->n, s, n);
	o->n += n;
}

static void puts_(out *o, const char *s)
{
	put(o, s, strlen(s));
}

static void put_int(out *o, int64_t v)
{
	char buf[24];
	put(o, buf, (size_t)snprintf(buf, sizeof buf, "%" PRId64, v));
}

static void put_uint(out *o, uint64_t v)
{
	char buf[24];
	put(o, buf, (size_t)snprintf(buf, sizeof buf, "%" PRIu64, v));
}

static void put_float(out *o, float v)
{
	char buf[TEXT_NUMBER];
	put(o, buf, (size_t)text_from_float(buf, v));
}

static void put_double(out *o, double v)
{
	char buf[TEXT_NUMBER];
	put(o, buf, (size_t)text_from_double(buf, v));
}

/* In quotes. In annotations line ends are escaped, since a comment ends with its line. */
static void put_quoted(out *o, const char *s, size_t n, bool note)
{
	size_t from = 0;
	puts_(o, "\"");
	for (size_t i = 0; i < n; i++) {
		bool line = note && (s[i] == '\n' || s[i] == '\r');
		if (s[i] != '"' && s[i] != '\\' && !line)
			continue;
		put(o, s + from, i - from);
		puts_(o, line ? s[i] == '\n' ? "\\n" : "\\r" : s[i] == '"' ? "\\\"" : "\\\\");
		from = i + 1;
	}
	put(o, s + from, n - from);
	puts_(o, "\"");
}

static void put_string(out *o, const char *s)
{
	put_quoted(o, s, strlen(s), false);
}

bool text_is_id(const char *s)
{
	if (!text_id_start((unsigned char)*s))
		return false;
	for (; *s; s++)
		if (!text_id_start((unsigned char)*s) && (*s < '0' || *s > '9'))
			return false;
	return true;
}

static void put_id(out *o, const char *s)
{
	if (text_is_id(s))
		puts_(o, s);
	else
		put_string(o, s);
}

/* A name where a type may stand as well. */
static void put_untyped(out *o, const char *s)
{
	static const char *const types[] = {"seq", "map", "optional", "sparse_tensor", "opaque"};
	bool is_type = pai_dtype_from_text(s) != PAI_UNDEFINED;
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		is_type |= strcmp(s, types[i]) == 0;
	if (is_type)
		put_string(o, s);
	else
		put_id(o, s);
}

static void line(out *o)
{
	puts_(o, "\n");
	for (int i = 0; i < o->depth; i++)
		puts_(o, "   ");
}

/* ---- what the grammar can say ---- */

/* Can the grammar say it? Not where an element type is unknown. */
static bool has_form(const pai_type *t)
{
	for (; t; t = t->elem) {
		bool typed = t->kind == PAI_TYPE_TENSOR || t->kind == PAI_TYPE_SPARSE_TENSOR ||
			     t->kind == PAI_TYPE_MAP;
		bool more = t->kind == PAI_TYPE_SEQUENCE || t->kind == PAI_TYPE_OPTIONAL ||
			    t->kind == PAI_TYPE_MAP;
		if (t->kind == PAI_TYPE_UNKNOWN || (typed && t->dtype == PAI_UNDEFINED) ||
		    (more && !t->elem))
			return false;
	}
	return true;
}

/* Attributes without a form (sparse tensors, lists of types) stand in annotations. */
static bool attr_has_form(const pai_attr *a)
{
	if (a->ref)
		return true;
	switch (a->type) {
	case PAI_ATTR_UNDEFINED:
	case PAI_ATTR_SPARSE_TENSOR:
	case PAI_ATTR_SPARSE_TENSORS:
	case PAI_ATTR_TYPE_PROTOS:
		return false;
	case PAI_ATTR_TYPE_PROTO:
		return has_form(a->type_value);
	default:
		return true;
	}
}

/* Sparse initialisers stand in an annotation. */
static bool init_has_form(const pai_value *v)
{
	return !pai_origin_is(v->init->origin, &onnx__sparse_tensor_proto__descriptor);
}

/* ---- annotations ---- */

/* On a line of its own. */
static void note_head(out *o, enum text_subject_id who, const char *name, const char *key)
{
	line(o);
	puts_(o, "#@ ");
	puts_(o, text_subject_name(who));
	puts_(o, " ");
	if (name) {
		if (text_is_id(name))
			puts_(o, name);
		else
			put_quoted(o, name, strlen(name), true);
		puts_(o, " ");
	}
	puts_(o, key);
	puts_(o, ": ");
}

static void note_props(out *o, enum text_subject_id who, const char *name, const pai_props *props)
{
	if (!props->n)
		return;
	note_head(o, who, name, "metadata_props");
	for (int i = 0; i < props->n; i++) {
		puts_(o, i ? ", " : "[");
		put_quoted(o, props->at[i].key, strlen(props->at[i].key), true);
		puts_(o, ": ");
		put_quoted(o, props->at[i].value, strlen(props->at[i].value), true);
	}
	puts_(o, "]");
}

/* Doc string and rest. */
static void note_origin(out *o, enum text_subject_id who, const char *name, const void *origin,
			bool whole)
{
	const char *rest = text_rest(o->scratch, who, origin, whole), *doc = text_doc(who, origin);
	if (rest) {
		note_head(o, who, name, "rest");
		put_string(o, rest);
	}
	pai_props props = text_meta(o->scratch, who, origin);
	note_props(o, who, name, &props);
	if (doc && !whole && who != TEXT_MODEL && who != TEXT_FUNCTION) {
		note_head(o, who, name, "doc_string");
		put_quoted(o, doc, strlen(doc), true);
	}
}

/* Other readers take only identifiers as names of tensors in attributes. */
static void tensor_notes(out *o, const pai_attr *a)
{
	const char *name = a->t->name;
	note_origin(o, TEXT_TENSOR, a->name, a->t->origin, false);
	if (!name || !*name || text_is_id(name))
		return;
	note_head(o, TEXT_TENSOR, a->name, "name");
	put_quoted(o, name, strlen(name), true);
}

static void node_notes(out *o, const pai_node *n)
{
	note_origin(o, TEXT_NODE, NULL, n->origin, false);
	note_props(o, TEXT_NODE, NULL, &n->props);
	for (int i = 0; i < n->n_attrs; i++) {
		const pai_attr *a = &n->attrs[i];
		note_origin(o, TEXT_ATTR, a->name, a->origin, !attr_has_form(a));
		if (a->type == PAI_ATTR_TENSOR && !a->ref && a->t)
			tensor_notes(o, a);
	}
}

static void graph_notes(out *o, const pai_graph *g)
{
	if (g->function) {
		note_origin(o, TEXT_FUNCTION, NULL, g->function->origin, false);
		note_props(o, TEXT_FUNCTION, NULL, &g->function->props);
	} else {
		note_origin(o, TEXT_GRAPH, NULL, g->origin, false);
	}
	note_props(o, TEXT_GRAPH, NULL, &g->props);
	for (int i = 0; i < g->values.n; i++) {
		const pai_value *v = g->values.at[i];
		if (v->dead)
			continue;
		note_origin(o, TEXT_VALUE, v->name, v->origin, false);
		if (v->init)
			note_origin(o, TEXT_INIT, v->name, v->init->origin, false);
	}
}

/* ---- types and tensors ---- */

static void put_dims(out *o, int rank, const pai_dim *dims)
{
	if (rank < 0)
		puts_(o, "[]");
	for (int i = 0; i < rank; i++) {
		puts_(o, i ? "," : "[");
		if (dims[i] == PAI_DIM_UNKNOWN)
			puts_(o, "?");
		else if (dims[i] >= 0)
			put_int(o, dims[i]);
		else
			put_id(o, pai_dim_text(o->ctx, dims[i]));
	}
	if (rank > 0)
		puts_(o, "]");
}

static void put_type(out *o, const pai_type *t)
{
	static const char *const wrappers[] = {
		[PAI_TYPE_SPARSE_TENSOR] = "sparse_tensor(",
		[PAI_TYPE_SEQUENCE] = "seq(",
		[PAI_TYPE_OPTIONAL] = "optional(",
		[PAI_TYPE_MAP] = "map(",
	};
	const char *dtype = pai_dtype_get((int)t->dtype)->text;
	if (t->kind == PAI_TYPE_TENSOR) {
		puts_(o, dtype);
		put_dims(o, t->rank, t->dims);
		return;
	}
	puts_(o, wrappers[t->kind]);
	if (t->kind == PAI_TYPE_SPARSE_TENSOR) {
		puts_(o, dtype);
		put_dims(o, t->rank, t->dims);
	} else if (t->kind == PAI_TYPE_MAP) {
		puts_(o, dtype);
		puts_(o, ", ");
	}
	if (t->kind != PAI_TYPE_SPARSE_TENSOR && t->elem)
		put_type(o, t->elem);
	puts_(o, ")");
}

/* Entry i of the typed data field, see text_data.c. */
static void put_entry(out *o, const pai_tensor *t, int64_t i)
{
	const pai_dtype_info *info = pai_dtype_get((int)t->dtype);
	size_t nbytes = info->bits < 8 ? 1 : (size_t)info->bits / 8;
	const uint8_t *at = (const uint8_t *)t->data + (size_t)i * nbytes;
	if (t->dtype == PAI_FLOAT || t->dtype == PAI_COMPLEX64) {
		put_float(o, ((const float *)t->data)[i]);
	} else if (t->dtype == PAI_DOUBLE || t->dtype == PAI_COMPLEX128) {
		put_double(o, ((const double *)t->data)[i]);
	} else if (t->dtype == PAI_STRING) {
		const pai_str *s = (const pai_str *)t->data + i;
		put_quoted(o, s->at, s->n, false);
	} else {
		uint64_t v = 0;
		memcpy(&v, at, nbytes); /* little-endian */
		if (info->kind == PAI_KIND_SIGNED && info->bits >= 8)
			put_int(o, (int64_t)(v << (64 - info->bits)) >> (64 - info->bits));
		else
			put_uint(o, v);
	}
}

static int64_t count_entries(const pai_tensor *t)
{
	const pai_dtype_info *info = pai_dtype_get((int)t->dtype);
	if (info->bits > 0 && info->bits < 8)
		return (int64_t)t->nbytes;
	return pai_tensor_nelem(t) * (info->kind == PAI_KIND_COMPLEX ? 2 : 1);
}

static void put_contents(out *o, const pai_tensor *t)
{
	const pai_props *e = o->stored ? o->stored->of(o->stored->payload, t) : t->external;
	if (e) {
		for (int i = 0; i < e->n; i++) {
			puts_(o, i ? ", " : "[");
			put_string(o, e->at[i].key);
			puts_(o, ": ");
			put_string(o, e->at[i].value);
		}
		puts_(o, "]");
		return;
	}
	int64_t n = t->data ? count_entries(t) : 0;
	int64_t shown = o->elide > 0 && o->elide < n ? o->elide : n;
	puts_(o, "{");
	for (int64_t i = 0; i < shown; i++) {
		if (i)
			puts_(o, ",");
		put_entry(o, t, i);
	}
	puts_(o, shown < n ? ", ...}" : "}");
}

static void put_tensor_type(out *o, const pai_tensor *t)
{
	puts_(o, pai_dtype_get((int)t->dtype)->text);
	put_dims(o, t->rank, t->dims);
}

/* `single`: the attribute's only one, whose name may stand in an annotation. */
static void put_tensor(out *o, const pai_tensor *t, bool single)
{
	put_tensor_type(o, t);
	puts_(o, " ");
	if (t->name && *t->name && (!single || text_is_id(t->name))) {
		put_id(o, t->name);
		puts_(o, " ");
	}
	put_contents(o, t);
}

/* ---- attributes ---- */

static void put_graph(out *o, const pai_graph *g);

static void put_item(out *o, const pai_attr *a, int64_t i)
{
	switch (a->type) {
	case PAI_ATTR_FLOATS:
		put_float(o, a->list.f[i]);
		return;
	case PAI_ATTR_INTS:
		put_int(o, a->list.i[i]);
		return;
	case PAI_ATTR_STRINGS:
		put_quoted(o, a->list.s[i].at, a->list.s[i].n, false);
		return;
	case PAI_ATTR_TENSORS:
		put_tensor(o, a->list.t[i], false);
		return;
	case PAI_ATTR_GRAPHS:
		put_graph(o, a->list.g[i]);
		return;
	default:
		return;
	}
}

static void put_attr_value(out *o, const pai_attr *a)
{
	switch (a->type) {
	case PAI_ATTR_FLOAT:
		put_float(o, a->f);
		return;
	case PAI_ATTR_INT:
		put_int(o, a->i);
		return;
	case PAI_ATTR_STRING:
		put_quoted(o, a->s.at, a->s.n, false);
		return;
	case PAI_ATTR_TENSOR:
		put_tensor(o, a->t, true);
		return;
	case PAI_ATTR_GRAPH:
		put_graph(o, a->g);
		return;
	case PAI_ATTR_TYPE_PROTO:
		put_type(o, a->type_value);
		return;
	default:
		puts_(o, "[");
		for (int64_t i = 0; i < a->list.n; i++) {
			puts_(o, i ? ", " : "");
			put_item(o, a, i);
		}
		puts_(o, "]");
	}
}

static void put_attr(out *o, const pai_attr *a)
{
	put_id(o, a->name);
	if (a->type) {
		puts_(o, ": ");
		puts_(o, text_attr_types[a->type]);
	}
	puts_(o, " = ");
	if (a->ref) {
		puts_(o, "@");
		put_id(o, a->ref);
	} else {
		put_attr_value(o, a);
	}
}

static void put_attrs(out *o, const pai_node *n)
{
	bool any = false;
	for (int i = 0; i < n->n_attrs; i++) {
		if (!attr_has_form(&n->attrs[i]))
			continue;
		puts_(o, any ? ", " : " <");
		any = true;
		put_attr(o, &n->attrs[i]);
	}
	if (any)
		puts_(o, ">");
}

/* ---- nodes ---- */

/* An omitted operand is "", and so is one at the end: it was written there. */
static void put_operands(out *o, pai_value *const *v, int n)
{
	for (int i = 0; i < n; i++) {
		if (i)
			puts_(o, ", ");
		put_id(o, v[i] ? v[i]->name : "");
	}
}

static void put_domain(out *o, const char *domain)
{
	while (*domain) { /* parts that are identifiers, or the whole in quotes */
		const char *dot = strchrnul(domain, '.');
		char *part = pai_arena_strndup(o->scratch, domain, (size_t)(dot - domain));
		put_id(o, part);
		puts_(o, ".");
		domain = *dot ? dot + 1 : dot;
		if (*dot && !*domain)
			puts_(o, "\"\".");
	}
}

static void put_node(out *o, const pai_node *n)
{
	bool graphs = false;
	for (int i = 0; i < n->n_attrs; i++)
		graphs |= n->attrs[i].type == PAI_ATTR_GRAPH || n->attrs[i].type == PAI_ATTR_GRAPHS;
	if (*n->name) {
		puts_(o, "[");
		put_id(o, n->name);
		puts_(o, "] ");
	}
	put_operands(o, n->out, n->n_out);
	puts_(o, n->n_out ? " = " : "= ");
	put_domain(o, n->domain);
	put_id(o, n->op_type);
	if (*n->overload) {
		puts_(o, ":");
		put_id(o, n->overload);
	}
	if (!graphs)
		put_attrs(o, n);
	puts_(o, " (");
	put_operands(o, n->in, n->n_in);
	puts_(o, ")");
	if (graphs)
		put_attrs(o, n);
}

static void put_nodes(out *o, const pai_graph *g)
{
	puts_(o, "{");
	o->depth++;
	if (!g->outer && !g->function)
		note_origin(o, TEXT_MODEL, NULL, g->model->origin, false);
	graph_notes(o, g);
	for (int i = 0; i < g->nodes.n; i++) {
		node_notes(o, g->nodes.at[i]);
		line(o);
		put_node(o, g->nodes.at[i]);
	}
	o->depth--;
	line(o);
	puts_(o, "}");
}

/* ---- graphs ---- */

/* The type a value has in the file; what inference found is not written. */
static const pai_type *stated(const pai_value *v)
{
	const pai_type *t = v->inferred ? v->stated : &v->type;
	return t && has_form(t) ? t : NULL;
}

static void put_declaration(out *o, const char *name, const pai_type *type)
{
	if (!type) {
		put_untyped(o, name);
		return;
	}
	put_type(o, type);
	puts_(o, " ");
	put_id(o, name);
}

static void put_interface(out *o, int n, pai_value *const *v)
{
	puts_(o, "(");
	for (int i = 0; i < n; i++) {
		const pai_type *type = stated(v[i]);
		if (!type && v[i]->inferred && has_form(&v[i]->type))
			type = &v[i]->type;
		puts_(o, i ? ", " : "");
		put_declaration(o, v[i]->name, type);
	}
	puts_(o, ")");
}

typedef struct infos { /* what the file says about values inside, in its order */
	size_t n;
	Onnx__ValueInfoProto *const *at;
} infos;

static infos infos_of(const pai_graph *g)
{
	const void *function = g->function && !g->outer ? g->function->origin : NULL;
	if (pai_origin_is(function, &onnx__function_proto__descriptor)) {
		const Onnx__FunctionProto *p = function;
		return (infos){p->n_value_info, p->value_info};
	}
	if (pai_origin_is(g->origin, &onnx__graph_proto__descriptor)) {
		const Onnx__GraphProto *p = g->origin;
		return (infos){p->n_value_info, p->value_info};
	}
	return (infos){0, NULL};
}

/* Is the value of an entry still there? *v NULL: it never was, the entry is kept all the same. */
static bool is_listed(const pai_graph *g, const Onnx__ValueInfoProto *p, const pai_value **v)
{
	*v = p->name ? pai_map_get(g->names, p->name) : NULL;
	return p->name && *p->name && (!*v || (!(*v)->dead && (*v)->origin));
}

static void next_item(out *o, bool *any)
{
	puts_(o, *any ? "," : "<");
	*any = true;
	line(o);
}

static void put_infos(out *o, const pai_graph *g, bool *any)
{
	infos list = infos_of(g);
	for (size_t i = 0; i < list.n; i++) {
		const Onnx__ValueInfoProto *p = list.at[i];
		const pai_value *v;
		if (!is_listed(g, p, &v))
			continue;
		pai_type type = {.rank = -1};
		if (!v && p->type)
			pai_import_type(o->ctx, o->scratch, p->type, &type);
		next_item(o, any);
		put_declaration(o, p->name, v ? stated(v) : has_form(&type) ? &type : NULL);
	}
}

static void put_inner(out *o, const pai_graph *g)
{
	bool any = false;
	line(o);
	o->depth++;
	for (int i = 0; i < g->inits.n; i++) {
		const pai_value *v = g->inits.at[i];
		if (!init_has_form(v))
			continue;
		next_item(o, &any);
		put_tensor_type(o, v->init);
		puts_(o, " ");
		put_id(o, v->name);
		puts_(o, " = ");
		put_contents(o, v->init);
	}
	put_infos(o, g, &any);
	o->depth--;
	line(o);
	puts_(o, ">");
	line(o);
}

static bool has_inner(const pai_graph *g)
{
	infos list = infos_of(g);
	const pai_value *v;
	for (size_t i = 0; i < list.n; i++)
		if (is_listed(g, list.at[i], &v))
			return true;
	for (int i = 0; i < g->inits.n; i++)
		if (init_has_form(g->inits.at[i]))
			return true;
	return false;
}

static void put_graph(out *o, const pai_graph *g)
{
	put_untyped(o, g->name);
	puts_(o, " ");
	put_interface(o, g->inputs.n, g->inputs.at);
	puts_(o, " => ");
	put_interface(o, g->outputs.n, g->outputs.at);
	if (has_inner(g))
		put_inner(o, g);
	else
		puts_(o, " ");
	put_nodes(o, g);
}

/* ---- functions and models ---- */

static void put_names(out *o, int n, pai_value *const *v)
{
	puts_(o, "(");
	for (int i = 0; i < n; i++) {
		puts_(o, i ? ", " : "");
		put_untyped(o, v[i]->name);
	}
	puts_(o, ")");
}

static void put_opsets(out *o, const pai_opset *at, int n)
{
	puts_(o, "opset_import: [");
	for (int i = 0; i < n; i++) {
		puts_(o, i ? ", " : "");
		put_string(o, at[i].domain);
		puts_(o, " : ");
		put_int(o, at[i].version);
	}
	puts_(o, "]");
}

/* ",\n   key: " */
static void next_field(out *o, const char *key)
{
	puts_(o, ",\n   ");
	puts_(o, key);
	puts_(o, ": ");
}

static void put_field(out *o, const char *key, const char *value)
{
	if (!value || !*value)
		return;
	next_field(o, key);
	put_string(o, value);
}

/* Inputs and outputs by name, and all stated types in one list. */
static void put_function_values(out *o, const pai_function *f)
{
	bool any = false;
	put_names(o, f->graph->inputs.n, f->graph->inputs.at);
	puts_(o, " => ");
	put_names(o, f->graph->outputs.n, f->graph->outputs.at);
	o->depth++;
	if (has_inner(f->graph))
		puts_(o, "\n");
	put_infos(o, f->graph, &any);
	o->depth--;
	puts_(o, any ? "\n>\n" : "\n");
}

static void put_function(out *o, const pai_function *f)
{
	puts_(o, "<\n   domain: ");
	put_string(o, f->domain);
	put_field(o, "overload", f->overload);
	puts_(o, ",\n   ");
	put_opsets(o, f->opsets, f->n_opsets);
	put_field(o, "doc_string", text_doc(TEXT_FUNCTION, f->origin));
	puts_(o, "\n>\n");
	put_id(o, f->name);
	puts_(o, " ");
	for (int i = 0; i < f->n_attr_names + f->n_attrs; i++) {
		puts_(o, i ? ", " : "<");
		if (i < f->n_attr_names)
			put_id(o, f->attr_names[i]);
		else
			put_attr(o, &f->attrs[i - f->n_attr_names]);
	}
	if (f->n_attr_names + f->n_attrs)
		puts_(o, "> ");
	put_function_values(o, f);
	put_nodes(o, f->graph);
	puts_(o, "\n");
}

static void put_model(out *o, const pai_model *m)
{
	puts_(o, "<\n   ir_version: ");
	put_int(o, m->ir_version);
	puts_(o, ",\n   ");
	put_opsets(o, m->opsets, m->n_opsets);
	put_field(o, "producer_name", m->producer_name);
	put_field(o, "producer_version", m->producer_version);
	put_field(o, "domain", m->domain);
	if (m->model_version) {
		next_field(o, "model_version");
		put_int(o, m->model_version);
	}
	put_field(o, "doc_string", m->doc);
	for (int i = 0; i < m->props.n; i++) {
		if (!i)
			next_field(o, "metadata_props");
		puts_(o, i ? ", " : "[");
		put_string(o, m->props.at[i].key);
		puts_(o, ": ");
		put_string(o, m->props.at[i].value);
	}
	puts_(o, m->props.n ? "]\n>\n" : "\n>\n");
	put_graph(o, m->graph);
	puts_(o, "\n");
	for (int i = 0; i < m->functions.n; i++)
		put_function(o, m->functions.at[i]);
}

static void print(out *o, const pai_model *m, const pai_graph *g)
{
	o->ctx = m->ctx;
	o->scratch = pai_arena_new(m->ctx);
	text_locale locale = text_locale_begin();
	if (g) {
		put_graph(o, g);
		puts_(o, "\n");
	} else {
		put_model(o, m);
	}
	flush(o);
	text_locale_end(locale);
	pai_arena_free(o->scratch);
}

void pai_text_print(const pai_model *m, int64_t elide, void *payload,
		    void (*put_bytes)(void *payload, const char *s, size_t n))
{
	out o = {.elide = elide, .payload = payload, .put = put_bytes};
	print(&o, m, NULL);
}

void pai_text_print_graph(const pai_graph *g, int64_t elide, void *payload,
			  void (*put_bytes)(void *payload, const char *s, size_t n))
{
	out o = {.elide = elide, .payload = payload, .put = put_bytes};
	print(&o, g->model, g);
}

void text_print_stored(const pai_model *m, const text_entries *stored, void *payload,
		       void (*put_bytes)(void *payload, const char *s, size_t n))
{
	out o = {.stored = stored, .payload = payload, .put = put_bytes};
	print(&o, m, NULL);
}
