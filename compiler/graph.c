/* graph.c -- making, reading and copying the model in memory.
 *
 * Nothing here changes a finished graph: readers build graphs with the pai_graph_add_* functions,
 * and everybody else proposes a patch.
 */
#include "compiler/ctx.h"
#include "compiler/text.h"
#include <stdlib.h>
#include <string.h>

pai_model *pai_model_new(pai_ctx *ctx, const char *graph_name, int64_t opset)
{
	pai_arena *a = pai_arena_new(ctx);
	pai_model *m = PAI_NEW(a, pai_model);
	m->ctx = ctx;
	m->arena = a;
	m->ir_version = 8;
	m->taken = pai_map_new(a);
	m->called = pai_map_new(a);
	m->producer_name = m->producer_version = m->domain = m->doc = "";
	m->graph = pai_graph_new(m, NULL, NULL, graph_name);
	if (opset)
		pai_model_import(m, "", opset);
	return m;
}

void pai_model_free(pai_model *m)
{
	if (m)
		pai_arena_free(m->arena);
}

int64_t pai_graph_opset(const pai_graph *g, const char *domain)
{
	while (g->outer)
		g = g->outer;
	const pai_opset *at = g->function ? g->function->opsets : g->model->opsets;
	int n = g->function ? g->function->n_opsets : g->model->n_opsets;
	domain = pai_domain_plain(domain);
	for (int i = 0; i < n; i++)
		if (strcmp(pai_domain_plain(at[i].domain), domain) == 0)
			return at[i].version;
	return 0;
}

void pai_model_import(pai_model *m, const char *domain, int64_t version)
{
	domain = pai_domain_plain(domain);
	for (int i = 0; i < m->n_opsets; i++) {
		if (strcmp(pai_domain_plain(m->opsets[i].domain), domain) == 0) {
			if (m->opsets[i].version < version)
				m->opsets[i].version = version;
			return;
		}
	}
	pai_opset *more = PAI_NEWS(m->arena, pai_opset, m->n_opsets + 1);
	pai_copy(more, m->opsets, sizeof *more * (size_t)m->n_opsets);
	more[m->n_opsets++] = (pai_opset){pai_arena_strdup(m->arena, domain), version};
	m->opsets = more;
}

/* What a function is found by. Names that hold the separator may clash; a hit is compared. */
static const char *function_key(pai_arena *a, const char *domain, const char *name,
				const char *overload, char *buffer, size_t size)
{
	domain = pai_domain_plain(domain);
	int n = snprintf(buffer, size, "%s\1%s\1%s", name, domain, overload);
	return n >= 0 && (size_t)n < size
		       ? buffer
		       : pai_arena_printf(a, "%s\1%s\1%s", name, domain, overload);
}

static void enter(pai_model *m, pai_function *f)
{
	pai_map_put(m->called, function_key(m->arena, f->domain, f->name, f->overload, NULL, 0), f);
}

void pai_model_add_function(pai_model *m, pai_function *f)
{
	PAI_PUSH(m->arena, m->functions, f);
	enter(m, f);
}

void pai_model_keep_functions(pai_model *m, int n, pai_function *const *kept)
{
	m->called = pai_map_new(m->arena);
	for (int i = 0; i < n; i++) {
		m->functions.at[i] = kept[i];
		enter(m, kept[i]);
	}
	m->functions.n = n;
}

pai_function *pai_model_function(const pai_model *m, const char *domain, const char *name,
				 const char *overload)
{
	if (!m->functions.n)
		return NULL;
	char buffer[512];
	pai_arena *a = NULL; /* for a longer name: a look-up changes nothing of the model */
	if (strlen(domain) + strlen(name) + strlen(overload) + 3 > sizeof buffer)
		a = pai_arena_new(m->ctx);
	pai_function *f = pai_map_get(
		m->called, function_key(a, domain, name, overload, buffer, sizeof buffer));
	pai_arena_free(a);
	bool right = f && strcmp(f->name, name) == 0 && strcmp(f->overload, overload) == 0 &&
		     strcmp(pai_domain_plain(f->domain), pai_domain_plain(domain)) == 0;
	return right ? f : NULL;
}

const char *pai_model_fresh_name(pai_model *m, const char *hint)
{
	if (*hint && !pai_map_get(m->taken, hint))
		return hint;
	if (!*hint)
		hint = "t";
	if (!m->hints)
		m->hints = pai_map_new(m->arena);
	int64_t *last = pai_map_get(m->hints, hint);
	if (!last) {
		last = PAI_NEW(m->arena, int64_t);
		pai_map_put(m->hints, pai_arena_strdup(m->arena, hint), last);
	}
	for (;;) {
		const char *name = pai_arena_printf(m->arena, "%s_%lld", hint, (long long)++*last);
		if (!pai_map_get(m->taken, name))
			return name;
	}
}

void pai_model_release_name(pai_model *m, const char *name)
{
	const char *number = strrchr(name, '_');
	int64_t *last = NULL;
	pai_map_put(m->taken, name, NULL);
	if (number && m->hints)
		last = pai_map_get(m->hints,
				   pai_arena_strndup(m->arena, name, (size_t)(number - name)));
	if (last && *last > 0 && strtoll(number + 1, NULL, 10) == *last)
		--*last;
}

pai_graph *pai_graph_new(pai_model *m, pai_graph *outer, pai_node *owner, const char *name)
{
	pai_graph *g = PAI_NEW(m->arena, pai_graph);
	g->model = m;
	g->outer = outer;
	g->owner = owner;
	g->function = outer ? outer->function : NULL;
	g->name = pai_arena_strdup(m->arena, name);
	g->names = pai_map_new(m->arena);
	return g;
}

pai_value *pai_graph_add_value(pai_graph *g, const char *name)
{
	pai_arena *a = g->model->arena;
	pai_value *v = PAI_NEW(a, pai_value);
	v->name = pai_arena_strdup(a, name);
	v->graph = g;
	v->id = g->values.n;
	v->type.rank = -1;
	PAI_PUSH(a, g->values, v);
	if (*v->name) {
		pai_map_put(g->names, v->name, v);
		pai_map_put(g->model->taken, v->name, v);
	}
	return v;
}

const pai_op *pai_node_row(const pai_node *n)
{
	/* A transform is executed by its kernel; its function is there for other runtimes. */
	if (strcmp(n->domain, PAI_DOMAIN_TRANSFORM) != 0 &&
	    pai_model_function(n->graph->model, n->domain, n->op_type, n->overload))
		return NULL;
	return pai_op_find(n->domain, n->op_type, pai_graph_opset(n->graph, n->domain));
}

pai_node *pai_graph_add_node(pai_graph *g, const char *domain, const char *op_type, int n_in,
			     int n_out)
{
	pai_arena *a = g->model->arena;
	pai_node *n = PAI_NEW(a, pai_node);
	n->graph = g;
	n->id = g->model->next_node_id++;
	n->op_type = pai_arena_strdup(a, op_type);
	n->domain = pai_arena_strdup(a, pai_domain_plain(domain));
	n->overload = n->name = "";
	n->n_in = n_in;
	n->n_out = n_out;
	n->in = PAI_NEWS(a, pai_value *, n_in);
	n->out = PAI_NEWS(a, pai_value *, n_out);
	n->op = pai_node_row(n);
	pai_ctx_know_op(g->model->ctx, n->op);
	PAI_PUSH(a, g->nodes, n);
	return n;
}

pai_value *pai_graph_value(const pai_graph *g, const char *name)
{
	for (; g; g = g->outer) {
		pai_value *v = pai_map_get(g->names, name);
		if (v && !v->dead)
			return v;
	}
	return NULL;
}

const pai_attr *pai_node_attr(const pai_node *n, const char *name)
{
	for (int i = 0; i < n->n_attrs; i++)
		if (strcmp(n->attrs[i].name, name) == 0)
			return &n->attrs[i];
	return NULL;
}

/* A default of a row, in every form that its text has. */
typedef struct default_value {
	int64_t i;
	float f;
	const char *s;
	int n; /* elements of a list, -1: it is none */
	int64_t *ints;
	float *floats;
} default_value;

/* Elements of "[1, 2]"; nothing is stored where there is no room yet. */
static int read_list(const char *text, default_value *out)
{
	int n = 0;
	for (const char *s = text + 1; *s && *s != ']'; n++) {
		char *end;
		double v = strtod(s, &end);
		if (end == s)
			break;
		if (out->ints) {
			out->ints[n] = (int64_t)v;
			out->floats[n] = (float)v;
		}
		s = end + strspn(end, ", ");
	}
	return n;
}

static const default_value *read_default(pai_arena *a, const char *text)
{
	default_value *d = PAI_NEW(a, default_value);
	text_locale locale = text_locale_begin();
	d->n = -1;
	if (*text == '"') {
		d->s = pai_arena_strndup(a, text + 1, strlen(text) - 2);
	} else if (*text == '[') {
		d->n = read_list(text, d);
		d->ints = PAI_NEWS(a, int64_t, d->n);
		d->floats = PAI_NEWS(a, float, d->n);
		(void)read_list(text, d);
	} else {
		d->i = strtoll(text, NULL, 10);
		d->f = strtof(text, NULL);
	}
	text_locale_end(locale);
	return d;
}

static bool has_default(const pai_op_attr *row)
{
	return row->def && strcmp(row->def, "!") != 0;
}

/* The context keeps what was read: there are only so many different ones in the tables. */
void pai_ctx_know_op(pai_ctx *ctx, const pai_op *op)
{
	struct pai_ctx_private *own = ctx->own;
	if (!op)
		return;
	if (!own->defaults)
		own->defaults = pai_map_new(own->arena);
	const size_t id = (size_t)pai_op_id(op);
	if (id >= own->n_known) {
		const size_t n = 2 * id + 64;
		bool *known = PAI_NEWS(own->arena, bool, n);
		pai_copy(known, own->known, own->n_known);
		own->known = known;
		own->n_known = n;
	}
	if (own->known[id])
		return;
	own->known[id] = true;
	for (const pai_op_attr *row = op->attrs; row->name; row++)
		if (has_default(row) && !pai_map_get(own->defaults, row->def))
			pai_map_put(own->defaults, row->def,
				    (void *)read_default(own->arena, row->def));
}

/* Default of the row, or NULL where there is none. */
static const default_value *default_of(const pai_node *n, const char *name)
{
	const pai_op_attr *row = n->op ? pai_op_attr_find(n->op, name) : NULL;
	if (!row || !has_default(row))
		return NULL;
	const struct pai_ctx_private *own = n->graph->model->ctx->own;
	const default_value *d = own->defaults ? pai_map_get(own->defaults, row->def) : NULL;
	if (d)
		return d;
	pai_ctx_know_op(n->graph->model->ctx, n->op); /* a node that nobody resolved */
	return pai_map_get(own->defaults, row->def);
}

int64_t pai_node_int(const pai_node *n, const char *name, int64_t otherwise)
{
	const pai_attr *a = pai_node_attr(n, name);
	if (a)
		return a->type == PAI_ATTR_INT ? a->i : otherwise;
	const default_value *d = default_of(n, name);
	return d ? d->i : otherwise;
}

float pai_node_float(const pai_node *n, const char *name, float otherwise)
{
	const pai_attr *a = pai_node_attr(n, name);
	if (a)
		return a->type == PAI_ATTR_FLOAT ? a->f : otherwise;
	const default_value *d = default_of(n, name);
	return d ? d->f : otherwise;
}

const char *pai_node_string(const pai_node *n, const char *name, const char *otherwise)
{
	const pai_attr *a = pai_node_attr(n, name);
	if (a)
		return a->type == PAI_ATTR_STRING ? a->s.at : otherwise;
	const default_value *d = default_of(n, name);
	return d && d->s ? d->s : otherwise;
}

int pai_node_ints(const pai_node *n, const char *name, const int64_t **out)
{
	const pai_attr *a = pai_node_attr(n, name);
	*out = NULL;
	if (a) {
		*out = a->type == PAI_ATTR_INTS ? a->list.i : NULL;
		return a->type == PAI_ATTR_INTS ? (int)a->list.n : -1;
	}
	const default_value *d = default_of(n, name);
	*out = d ? d->ints : NULL;
	return d ? d->n : -1;
}

int pai_node_floats(const pai_node *n, const char *name, const float **out)
{
	const pai_attr *a = pai_node_attr(n, name);
	*out = NULL;
	if (a) {
		*out = a->type == PAI_ATTR_FLOATS ? a->list.f : NULL;
		return a->type == PAI_ATTR_FLOATS ? (int)a->list.n : -1;
	}
	const default_value *d = default_of(n, name);
	*out = d ? d->floats : NULL;
	return d ? d->n : -1;
}

bool pai_node_is_in(const pai_node *n, const char *domain, const char *op_type)
{
	return strcmp(n->op_type, op_type) == 0 && strcmp(n->domain, pai_domain_plain(domain)) == 0;
}

bool pai_node_is(const pai_node *n, const char *op_type)
{
	return pai_node_is_in(n, "", op_type);
}

pai_value *pai_node_in(const pai_node *n, int i)
{
	return i >= 0 && i < n->n_in ? n->in[i] : NULL;
}

pai_value *pai_node_out(const pai_node *n, int i)
{
	return i >= 0 && i < n->n_out ? n->out[i] : NULL;
}

const char *pai_prop_get(const pai_props *p, const char *key)
{
	for (int i = 0; i < p->n; i++)
		if (strcmp(p->at[i].key, key) == 0)
			return p->at[i].value;
	return NULL;
}

void pai_prop_set(pai_arena *a, pai_props *p, const char *key, const char *value)
{
	for (int i = 0; i < p->n; i++) {
		if (strcmp(p->at[i].key, key) == 0) {
			p->at[i].value = pai_arena_strdup(a, value);
			return;
		}
	}
	pai_prop item = {pai_arena_strdup(a, key), pai_arena_strdup(a, value)};
	PAI_PUSH(a, *p, item);
}

const pai_tensor *pai_value_constant(const pai_value *v)
{
	if (!v)
		return NULL;
	if (v->init) /* before IR 4 every initialiser is an input as well, and is meant constant */
		return v->is_input && v->graph->model->ir_version >= 4 ? NULL : v->init;
	if (!v->producer || !pai_node_is(v->producer, "Constant"))
		return NULL;
	const pai_attr *a = pai_node_attr(v->producer, "value");
	return a && a->type == PAI_ATTR_TENSOR && !a->ref ? a->t : NULL;
}

const char *pai_node_label(const pai_node *n)
{
	if (*n->name)
		return n->name;
	for (int i = 0; i < n->n_out; i++)
		if (n->out[i] && *n->out[i]->name)
			return n->out[i]->name;
	return n->op_type;
}

pai_status pai_graph_walk(pai_graph *g, pai_status (*fn)(void *payload, pai_graph *g),
			  void *payload)
{
	PAI_TRY(fn(payload, g));
	for (int i = 0; i < g->nodes.n; i++) {
		pai_node *n = g->nodes.at[i];
		for (int k = 0; k < n->n_attrs; k++) {
			pai_attr *a = &n->attrs[k];
			if (a->type == PAI_ATTR_GRAPH && a->g)
				PAI_TRY(pai_graph_walk(a->g, fn, payload));
			if (a->type == PAI_ATTR_GRAPHS)
				for (int64_t j = 0; j < a->list.n; j++)
					PAI_TRY(pai_graph_walk(a->list.g[j], fn, payload));
		}
	}
	return PAI_OK;
}
