/* build.c -- pai_model to messages, for export.c to pack.
 *
 * Every object starts as a copy of the message it came from, so that what the program does not look
 * at (doc strings, unknown fields, annotations) goes along; what differs is put over it. Objects
 * that do not differ are the old messages themselves: no pass, no change. Messages borrow all
 * strings and contents from the model, and live in a scratch arena.
 */
#include "compiler/build.h"

static bool same_bits(float x, float y)
{
	uint32_t a, b;
	memcpy(&a, &x, sizeof a);
	memcpy(&b, &y, sizeof b);
	return a == b;
}

static void set_int(protobuf_c_boolean *has, int64_t *field, int64_t v)
{
	if ((*has ? *field : 0) != v) {
		*has = 1;
		*field = v;
	}
}

static void set_domain(char **field, const char *domain)
{
	if (strcmp(pai_domain_plain(*field), domain) != 0)
		*field = (char *)domain;
}

static void set_props(const pai_builder *b, size_t *n, Onnx__StringStringEntryProto ***at,
		      const pai_props *props)
{
	bool same = *n == (size_t)props->n;
	for (size_t i = 0; same && i < *n; i++)
		same = pai_same_text((*at)[i]->key, props->at[i].key) &&
		       pai_same_text((*at)[i]->value, props->at[i].value);
	if (same)
		return;
	*n = (size_t)props->n;
	*at = PAI_NEWS(b->arena, Onnx__StringStringEntryProto *, *n);
	for (size_t i = 0; i < *n; i++)
		(*at)[i] = pai_build_entry(b, props->at[i].key, props->at[i].value);
}

static void set_opsets(const pai_builder *b, size_t *n, Onnx__OperatorSetIdProto ***at,
		       const pai_opset *sets, int n_sets)
{
	size_t had = *n;
	Onnx__OperatorSetIdProto **old = *at;
	*n = (size_t)n_sets;
	*at = PAI_NEWS(b->arena, Onnx__OperatorSetIdProto *, n_sets);
	for (size_t i = 0; i < *n; i++) {
		bool same = i < had && old[i]->version == sets[i].version &&
			    pai_same_text(old[i]->domain, sets[i].domain);
		if (same) {
			(*at)[i] = old[i];
			continue;
		}
		Onnx__OperatorSetIdProto *o = pai_build_start(
			b, &onnx__operator_set_id_proto__descriptor, i < had ? old[i] : NULL);
		o->domain = (char *)sets[i].domain;
		o->has_version = 1;
		o->version = sets[i].version;
		(*at)[i] = o;
	}
}

/* ---- attributes and nodes ---- */

static Onnx__GraphProto *build_graph(const pai_builder *b, const pai_graph *g);

static bool same_strings(const pai_attr *a, const Onnx__AttributeProto *p)
{
	if ((size_t)a->list.n != p->n_strings)
		return false;
	for (size_t i = 0; i < p->n_strings; i++)
		if (a->list.s[i].n != p->strings[i].len ||
		    (p->strings[i].len &&
		     memcmp(a->list.s[i].at, p->strings[i].data, p->strings[i].len) != 0))
			return false;
	return true;
}

static bool same_numbers(int64_t n, const void *a, size_t had, const void *b, size_t width)
{
	return (size_t)n == had && (a == b || !had || memcmp(a, b, had * width) == 0);
}

/* For what holds no tensors and graphs of its own. */
static bool same_attr(const pai_builder *b, const pai_attr *a, const Onnx__AttributeProto *p)
{
	if (!pai_same_text(a->name, p->name) || !pai_same_text(a->ref, p->ref_attr_name))
		return false;
	if (p->has_type && p->type && p->type != (int32_t)a->type)
		return false;
	if (a->ref)
		return true;
	switch (a->type) {
	case PAI_ATTR_FLOAT:
		return p->has_f && same_bits(a->f, p->f);
	case PAI_ATTR_INT:
		return p->has_i && a->i == p->i;
	case PAI_ATTR_STRING:
		return p->has_s && a->s.n == p->s.len &&
		       (!p->s.len || memcmp(a->s.at, p->s.data, p->s.len) == 0);
	case PAI_ATTR_FLOATS:
		return same_numbers(a->list.n, a->list.f, p->n_floats, p->floats, sizeof(float));
	case PAI_ATTR_INTS:
		return same_numbers(a->list.n, a->list.i, p->n_ints, p->ints, sizeof(int64_t));
	case PAI_ATTR_STRINGS:
		return same_strings(a, p);
	case PAI_ATTR_TYPE_PROTO: {
		pai_type was = {.rank = -1};
		if (p->tp)
			pai_import_type(b->m->ctx, b->arena, p->tp, &was);
		return p->tp && pai_build_same_type(a->type_value, &was);
	}
	case PAI_ATTR_TENSOR:
		return p->t && p->t == pai_build_tensor(b, a->t, p->t->name, false);
	case PAI_ATTR_TENSORS:
	case PAI_ATTR_GRAPH:
	case PAI_ATTR_GRAPHS:
		return false;
	case PAI_ATTR_SPARSE_TENSOR:
		return p->sparse_tensor && a->t->origin == p->sparse_tensor;
	case PAI_ATTR_SPARSE_TENSORS:
	case PAI_ATTR_TYPE_PROTOS:
	case PAI_ATTR_UNDEFINED:
		return true;
	}
	return false;
}

static void set_strings(const pai_builder *b, const pai_attr *a, Onnx__AttributeProto *p)
{
	p->n_strings = (size_t)a->list.n;
	p->strings = PAI_NEWS(b->arena, ProtobufCBinaryData, a->list.n);
	for (size_t i = 0; i < p->n_strings; i++)
		p->strings[i] = (ProtobufCBinaryData){a->list.s[i].n, (uint8_t *)a->list.s[i].at};
}

static void set_tensors(const pai_builder *b, const pai_attr *a, Onnx__AttributeProto *p)
{
	p->n_tensors = (size_t)a->list.n;
	p->tensors = PAI_NEWS(b->arena, Onnx__TensorProto *, a->list.n);
	for (size_t i = 0; i < p->n_tensors; i++)
		p->tensors[i] = pai_build_tensor(b, a->list.t[i], a->list.t[i]->name, false);
}

static void set_graphs(const pai_builder *b, const pai_attr *a, Onnx__AttributeProto *p)
{
	p->n_graphs = (size_t)a->list.n;
	p->graphs = PAI_NEWS(b->arena, Onnx__GraphProto *, a->list.n);
	for (size_t i = 0; i < p->n_graphs; i++)
		p->graphs[i] = build_graph(b, a->list.g[i]);
}

static void set_value(const pai_builder *b, const pai_attr *a, Onnx__AttributeProto *p)
{
	switch (a->type) {
	case PAI_ATTR_FLOAT:
		p->has_f = 1;
		p->f = a->f;
		break;
	case PAI_ATTR_INT:
		p->has_i = 1;
		p->i = a->i;
		break;
	case PAI_ATTR_STRING:
		p->has_s = 1;
		p->s = (ProtobufCBinaryData){a->s.n, (uint8_t *)a->s.at};
		break;
	case PAI_ATTR_TENSOR:
		p->t = pai_build_tensor(b, a->t, a->t->name, false);
		break;
	case PAI_ATTR_GRAPH:
		p->g = build_graph(b, a->g);
		break;
	case PAI_ATTR_FLOATS:
		p->n_floats = (size_t)a->list.n;
		p->floats = (float *)a->list.f;
		break;
	case PAI_ATTR_INTS:
		p->n_ints = (size_t)a->list.n;
		p->ints = (int64_t *)a->list.i;
		break;
	case PAI_ATTR_STRINGS:
		set_strings(b, a, p);
		break;
	case PAI_ATTR_TENSORS:
		set_tensors(b, a, p);
		break;
	case PAI_ATTR_GRAPHS:
		set_graphs(b, a, p);
		break;
	case PAI_ATTR_TYPE_PROTO:
		p->tp = pai_build_type(b, a->type_value);
		break;
	case PAI_ATTR_SPARSE_TENSOR: /* never made by us: the message it was read from */
		if (pai_origin_is(a->t->origin, &onnx__sparse_tensor_proto__descriptor))
			p->sparse_tensor = (Onnx__SparseTensorProto *)a->t->origin;
		break;
	case PAI_ATTR_SPARSE_TENSORS:
	case PAI_ATTR_TYPE_PROTOS:
	case PAI_ATTR_UNDEFINED:
		break;
	}
}

static void clear_value(Onnx__AttributeProto *p)
{
	p->has_f = p->has_i = p->has_s = 0;
	p->t = NULL;
	p->g = NULL;
	p->tp = NULL;
	p->n_floats = p->n_ints = p->n_strings = p->n_tensors = p->n_graphs = 0;
}

static Onnx__AttributeProto *build_attr(const pai_builder *b, const pai_attr *a)
{
	bool has_old = pai_origin_is(a->origin, &onnx__attribute_proto__descriptor);
	if (has_old && same_attr(b, a, a->origin))
		return (Onnx__AttributeProto *)a->origin;
	Onnx__AttributeProto *p = pai_build_start(b, &onnx__attribute_proto__descriptor, a->origin);
	pai_set_text(&p->name, a->name);
	if (!has_old || p->type != (int32_t)a->type) {
		p->has_type = 1;
		p->type = (int32_t)a->type;
	}
	pai_set_text(&p->ref_attr_name, a->ref);
	clear_value(p);
	if (!a->ref)
		set_value(b, a, p);
	return p;
}

/* Replaces the list where it differs. */
static void set_attrs(const pai_builder *b, size_t *n, Onnx__AttributeProto ***at, int n_attrs,
		      const pai_attr *attrs)
{
	Onnx__AttributeProto **list = PAI_NEWS(b->arena, Onnx__AttributeProto *, n_attrs);
	bool same = *n == (size_t)n_attrs;
	for (int i = 0; i < n_attrs; i++) {
		list[i] = build_attr(b, &attrs[i]);
		same = same && list[i] == (*at)[i];
	}
	if (same)
		return;
	*n = (size_t)n_attrs;
	*at = list;
}

static const char *name_of(const pai_value *v)
{
	return v ? v->name : "";
}

static void set_names(const pai_builder *b, size_t *n, char ***at, int n_values,
		      pai_value *const *values)
{
	bool same = *n == (size_t)n_values;
	for (int i = 0; same && i < n_values; i++)
		same = strcmp((*at)[i], name_of(values[i])) == 0;
	if (same)
		return;
	*n = (size_t)n_values;
	*at = PAI_NEWS(b->arena, char *, n_values);
	for (int i = 0; i < n_values; i++)
		(*at)[i] = (char *)name_of(values[i]);
}

static Onnx__NodeProto *build_node(const pai_builder *b, const pai_node *n)
{
	Onnx__NodeProto *p = pai_build_start(b, &onnx__node_proto__descriptor, n->origin);
	set_names(b, &p->n_input, &p->input, n->n_in, n->in);
	set_names(b, &p->n_output, &p->output, n->n_out, n->out);
	pai_set_text(&p->name, n->name);
	pai_set_text(&p->op_type, n->op_type);
	set_domain(&p->domain, n->domain);
	pai_set_text(&p->overload, n->overload);
	set_attrs(b, &p->n_attribute, &p->attribute, n->n_attrs, n->attrs);
	set_props(b, &p->n_metadata_props, &p->metadata_props, &n->props);
	return p;
}

static void set_nodes(const pai_builder *b, size_t *n, Onnx__NodeProto ***at, const pai_graph *g)
{
	*n = (size_t)g->nodes.n;
	*at = PAI_NEWS(b->arena, Onnx__NodeProto *, g->nodes.n);
	for (int i = 0; i < g->nodes.n; i++)
		(*at)[i] = build_node(b, g->nodes.at[i]);
}

/* ---- graphs ---- */

/* Inputs or outputs; the old messages are found at the same place. */
static void set_ends(const pai_builder *b, size_t *n, Onnx__ValueInfoProto ***at, int n_values,
		     pai_value *const *values)
{
	size_t had = *n;
	Onnx__ValueInfoProto **old = *at;
	*n = (size_t)n_values;
	*at = PAI_NEWS(b->arena, Onnx__ValueInfoProto *, n_values);
	for (size_t i = 0; i < *n; i++) {
		bool said = i < had && pai_same_text(old[i]->name, values[i]->name);
		(*at)[i] = pai_build_value_info(b, values[i], said ? old[i] : NULL);
	}
}

static void set_inits(const pai_builder *b, Onnx__GraphProto *p, const pai_graph *g)
{
	p->n_initializer = p->n_sparse_initializer = 0;
	p->initializer = PAI_NEWS(b->arena, Onnx__TensorProto *, g->inits.n);
	p->sparse_initializer = PAI_NEWS(b->arena, Onnx__SparseTensorProto *, g->inits.n);
	for (int i = 0; i < g->inits.n; i++) {
		const pai_value *v = g->inits.at[i];
		if (pai_origin_is(v->init->origin, &onnx__sparse_tensor_proto__descriptor))
			p->sparse_initializer[p->n_sparse_initializer++] =
				(Onnx__SparseTensorProto *)v->init->origin;
		else
			p->initializer[p->n_initializer++] =
				pai_build_tensor(b, v->init, v->name, true);
	}
}

/* Every value that the graph has or had, by name; what lives wins. */
static pai_map *all_names(const pai_builder *b, const pai_graph *g)
{
	pai_map *names = pai_map_new(b->arena);
	for (int i = 0; i < g->values.n; i++) {
		pai_value *v = g->values.at[i], *other = pai_map_get(names, v->name);
		if (!other || other->dead)
			pai_map_put(names, v->name, v);
	}
	return names;
}

/* Types of values between the ends: what the file says, without what is gone. */
static void set_value_infos(const pai_builder *b, size_t *n, Onnx__ValueInfoProto ***at,
			    const pai_graph *g, const pai_map *names)
{
	size_t had = *n;
	Onnx__ValueInfoProto **old = *at;
	*n = 0;
	*at = PAI_NEWS(b->arena, Onnx__ValueInfoProto *, had + (size_t)g->values.n);
	for (size_t i = 0; i < had; i++) {
		const pai_value *v = pai_map_get(names, old[i]->name ? old[i]->name : "");
		if (!v) /* of something else, such as a subgraph */
			(*at)[(*n)++] = old[i];
		else if (!v->dead && v->origin)
			(*at)[(*n)++] = pai_build_value_info(b, v, old[i]);
	}
}

static void drop_dead_annotations(const pai_builder *b, Onnx__GraphProto *p, const pai_map *names)
{
	size_t had = p->n_quantization_annotation;
	Onnx__TensorAnnotation **old = p->quantization_annotation;
	p->n_quantization_annotation = 0;
	p->quantization_annotation = PAI_NEWS(b->arena, Onnx__TensorAnnotation *, had);
	for (size_t i = 0; i < had; i++) {
		const pai_value *v =
			pai_map_get(names, old[i]->tensor_name ? old[i]->tensor_name : "");
		if (!v || !v->dead)
			p->quantization_annotation[p->n_quantization_annotation++] = old[i];
	}
}

static Onnx__GraphProto *build_graph(const pai_builder *b, const pai_graph *g)
{
	Onnx__GraphProto *p = pai_build_start(b, &onnx__graph_proto__descriptor, g->origin);
	pai_map *names = all_names(b, g);
	pai_set_text(&p->name, g->name);
	set_nodes(b, &p->n_node, &p->node, g);
	set_inits(b, p, g);
	set_ends(b, &p->n_input, &p->input, g->inputs.n, g->inputs.at);
	set_ends(b, &p->n_output, &p->output, g->outputs.n, g->outputs.at);
	set_value_infos(b, &p->n_value_info, &p->value_info, g, names);
	drop_dead_annotations(b, p, names);
	set_props(b, &p->n_metadata_props, &p->metadata_props, &g->props);
	return p;
}

static Onnx__FunctionProto *build_function(const pai_builder *b, const pai_function *f)
{
	const pai_graph *g = f->graph;
	Onnx__FunctionProto *p = pai_build_start(b, &onnx__function_proto__descriptor, f->origin);
	pai_set_text(&p->name, f->name);
	pai_set_text(&p->domain, f->domain);
	pai_set_text(&p->overload, f->overload);
	set_names(b, &p->n_input, &p->input, g->inputs.n, g->inputs.at);
	set_names(b, &p->n_output, &p->output, g->outputs.n, g->outputs.at);
	p->n_attribute = (size_t)f->n_attr_names;
	p->attribute = (char **)f->attr_names;
	set_attrs(b, &p->n_attribute_proto, &p->attribute_proto, f->n_attrs, f->attrs);
	set_nodes(b, &p->n_node, &p->node, g);
	set_opsets(b, &p->n_opset_import, &p->opset_import, f->opsets, f->n_opsets);
	set_value_infos(b, &p->n_value_info, &p->value_info, g, all_names(b, g));
	set_props(b, &p->n_metadata_props, &p->metadata_props, &f->props);
	return p;
}

Onnx__ModelProto *pai_build_model(pai_arena *a, const pai_model *m, pai_store *store)
{
	pai_builder made = {a, m, store}, *b = &made;
	Onnx__ModelProto *p = pai_build_start(b, &onnx__model_proto__descriptor, m->origin);
	set_int(&p->has_ir_version, &p->ir_version, m->ir_version);
	bool implied = m->origin && !p->n_opset_import && m->n_opsets == 1 &&
		       m->opsets[0].version == 1; /* before IR 3 */
	if (!implied)
		set_opsets(b, &p->n_opset_import, &p->opset_import, m->opsets, m->n_opsets);
	pai_set_text(&p->producer_name, m->producer_name);
	pai_set_text(&p->producer_version, m->producer_version);
	pai_set_text(&p->domain, m->domain);
	set_int(&p->has_model_version, &p->model_version, m->model_version);
	pai_set_text(&p->doc_string, m->doc);
	p->graph = build_graph(b, m->graph);
	p->n_functions = (size_t)m->functions.n;
	p->functions = PAI_NEWS(a, Onnx__FunctionProto *, m->functions.n);
	for (int i = 0; i < m->functions.n; i++)
		p->functions[i] = build_function(b, m->functions.at[i]);
	set_props(b, &p->n_metadata_props, &p->metadata_props, &m->props);
	return p;
}
