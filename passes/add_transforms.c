/* add_transforms.c -- puts transform nodes on the parameters and activations that ordered rules
 * select.
 *
 * For each float constant of a graph every reader is held against the rules, through Transpose,
 * Reshape and the like; of the rules that match the last one counts, and those with compose=append
 * follow it. What a rule selects by one of its readers is the parameter: it gets one chain of
 * nodes, right behind it, so outside the bodies of loops that read it, and all readers read what
 * the chain makes of it, those that no rule names as well, so that tied weights stay tied. They are
 * counted. Readers for which different rules win are an error, and so is a rule that matches
 * nothing.
 *
 * A random transform gets its numbers from a RandomUniformLike, so that other runtimes execute it
 * and its gradient sees the same numbers. The function of each transform rides along in the model.
 */
#include "passes/rules.h"
#include <cjson/cJSON.h>
#include <string.h>

enum { INSERTED, SHARED, UNNAMED, NOT_FLOAT, IS_OUTPUT, EXISTING };

static const pai_option options[] = {
	{.name = "rules",
	 .type = PAI_OPT_STRING,
	 .required = true,
	 .help = "family:transform{key=value,...},... or a .json file"},
	{.name = "lock",
	 .type = PAI_OPT_STRING,
	 .help = "write what each rule touched to this file"},
	{.name = NULL},
};

typedef struct entry { /* of the lock file */
	cJSON *json;
	uint64_t applied; /* 0: the rewrite was not */
} entry;

typedef struct state {
	pai_rule *rules;
	uint64_t *matched; /* by rule */
	int n_rules;
	int64_t opset; /* of the model's ai.onnx */
	bool warned;
	pai_map *compat;       /* by operator: that of its nodes */
	PAI_VEC(entry *) lock; /* of what is proposed */
} state;

typedef PAI_VEC(const pai_rule *) chain;
typedef PAI_VEC(pai_use) use_list;

typedef struct parameter {        /* or activation */
	pai_value *value, *tail;  /* tail: value, or the last transform that stands on it */
	const pai_tensor *tensor; /* its contents; NULL: an activation */
	use_list readers;
	bool transformed;
} parameter;

static bool passes_through(const pai_node *n)
{
	static const char *const ops[] = {"Transpose", "Reshape",   "Identity", "Cast",
					  "Squeeze",   "Unsqueeze", "Flatten"};
	for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
		if (pai_node_is(n, ops[i]))
			return true;
	return false;
}

/* Who reads the parameter in the end; a chain that forks is followed on every side. */
static void collect_readers(pai_pass_run *r, const pai_graph *g, parameter *p)
{
	PAI_VEC(pai_value *) open = {0};
	PAI_PUSH(r->scratch, open, p->value);
	for (int done = 0; done < open.n; done++) {
		const pai_value *v = open.at[done];
		for (int i = 0; i < r->uses->n[v->id]; i++) {
			pai_use use = r->uses->of[v->id][i];
			if (use.slot < 0)
				continue;
			bool inside = use.slot == 0 && use.node->graph == g;
			if (inside && pai_transform_of(use.node)) {
				p->transformed = true;
				if (v == p->tail)
					p->tail = use.node->out[0];
				PAI_PUSH(r->scratch, open, use.node->out[0]);
			} else if (inside && passes_through(use.node)) {
				PAI_PUSH(r->scratch, open, use.node->out[0]);
			} else {
				PAI_PUSH(r->scratch, p->readers, use);
			}
		}
	}
}

static bool same_chain(const chain *a, const chain *b)
{
	for (int i = 0; i < a->n && i < b->n; i++)
		if (a->at[i] != b->at[i])
			return false;
	return a->n == b->n;
}

static chain chain_of(pai_pass_run *r, const parameter *p, pai_use use, bool *hit)
{
	state *s = r->state;
	chain c = {0};
	for (int i = 0; i < s->n_rules; i++) {
		if (!pai_rule_matches(&s->rules[i], use.node, use.slot, p->value, p->tensor))
			continue;
		hit[i] = true;
		if (!s->rules[i].append)
			c.n = 0;
		PAI_PUSH(r->scratch, c, &s->rules[i]);
	}
	return c;
}

/* The chain that all readers agree on which a rule names; n 0: there is none. *unnamed counts the
 * others. */
static pai_status agree(pai_pass_run *r, const parameter *p, chain *out, int *unnamed)
{
	state *s = r->state;
	bool *hit = PAI_NEWS(r->scratch, bool, s->n_rules);
	*out = (chain){0};
	*unnamed = 0;
	for (int i = 0; i < p->readers.n; i++) {
		chain c = chain_of(r, p, p->readers.at[i], hit);
		*unnamed += !c.n;
		if (!c.n)
			continue;
		if (out->n && !same_chain(out, &c))
			return pai_fail(r->ctx, PAI_E_rule_conflict, pai_at_value(p->value),
					"is shared by readers that rules %s and %s select",
					out->at[out->n - 1]->label, c.at[c.n - 1]->label);
		*out = c;
	}
	for (int i = 0; i < s->n_rules; i++)
		s->matched[i] += hit[i];
	return PAI_OK;
}

static const char *compat_of(const pai_node *n)
{
	return pai_node_string(n, "compat", "none");
}

static pai_status note_compat(void *payload, pai_graph *g)
{
	state *s = payload;
	for (int i = 0; i < g->nodes.n; i++)
		if (pai_transform_of(g->nodes.at[i]))
			pai_map_put(s->compat, g->nodes.at[i]->op_type,
				    (void *)compat_of(g->nodes.at[i]));
	return PAI_OK;
}

/* A model has one function for each operator, and its text depends on compat. */
static pai_status check_compat(pai_pass_run *r, const pai_node *n, const pai_rule *rule)
{
	state *s = r->state;
	const char *before = pai_map_get(s->compat, n->op_type), *now = compat_of(n);
	if (before && strcmp(before, now) != 0)
		return pai_fail(r->ctx, PAI_E_transform_compat, pai_at_nothing(),
				"rule %s has compat \"%s\", another %s of the model has \"%s\"",
				rule->label, now, n->op_type, before);
	pai_map_put(s->compat, n->op_type, (void *)now);
	return PAI_OK;
}

/* Values that the kernel refuses show on two numbers, before they are in a file. */
static pai_status try_values(pai_pass_run *r, const pai_node *n, const pai_rule *rule)
{
	float v[] = {1, -0.5f}, u[] = {0.5f, 0.5f};
	int64_t dims[] = {2};
	pai_tensor x = {.dtype = PAI_FLOAT, .rank = 1, .dims = dims, .data = v, .nbytes = sizeof v};
	pai_tensor draw = x, *y = NULL;
	draw.data = u;
	if (pai_eval_node(r->ctx, r->scratch, n, (const pai_tensor *[]){&x, &draw}, 0, &y) ==
	    PAI_OK)
		return PAI_OK;
	return pai_fail(r->ctx, PAI_E_bad_rule, pai_at_nothing(),
			"rule %s has a value that the transform does not take", rule->label);
}

static pai_status add_function(pai_pass_run *r, pai_patch *out, const pai_node *n)
{
	state *s = r->state;
	pai_model *m = n->graph->model;
	if (s->opset < PAI_BODY_OPSET) {
		if (!s->warned)
			pai_warn(r->ctx, PAI_E_transform_no_body, pai_at_nothing(),
				 "opset %d is older than %d: transform nodes run here, not "
				 "elsewhere",
				 (int)s->opset, PAI_BODY_OPSET);
		s->warned = true;
		return PAI_OK;
	}
	if (pai_model_function(m, PAI_DOMAIN_TRANSFORM, n->op_type, ""))
		return PAI_OK;
	bool rockpool = strcmp(compat_of(n), "rockpool") == 0;
	pai_function *f;
	PAI_TRY(pai_transform_function(m, pai_transform_of(n), rockpool, s->opset, &f));
	pai_patch_function(out, f);
	return PAI_OK;
}

static const pai_rule_attr *given(const pai_rule *rule, const pai_op_attr *row)
{
	for (int i = 0; i < rule->n_attrs; i++)
		if (strcmp(rule->attrs[i].row->name, row->name) == 0)
			return &rule->attrs[i];
	return NULL;
}

/* Every attribute stands on the node: the function refers to all of them. */
static void set_attributes(pai_patch *out, pai_node *n, const pai_rule *rule)
{
	for (const pai_op_attr *row = n->op->attrs; row->name; row++) {
		const pai_rule_attr *a = given(rule, row);
		const char *name = row->name;
		if (row->type == PAI_ATTR_INT)
			pai_patch_set_int(out, n, name, a ? a->i : pai_node_int(n, name, 0));
		else if (row->type == PAI_ATTR_FLOAT)
			pai_patch_set_float(out, n, name, a ? a->f : pai_node_float(n, name, 0));
		else if (row->type == PAI_ATTR_STRING)
			pai_patch_set_string(out, n, name, a ? a->s : pai_node_string(n, name, ""));
		else
			pai_patch_set_floats(out, n, name, a ? a->n : 0, a ? a->floats : NULL);
	}
}

static void release_json(void *json)
{
	cJSON_Delete(json);
}

static cJSON *describe(pai_arena *a, const parameter *p, const pai_rule *rule, const pai_node *n)
{
	cJSON *json = cJSON_CreateObject(), *attrs, *shape;
	cJSON_AddStringToObject(json, p->tensor ? "initializer" : "activation", p->value->name);
	cJSON_AddStringToObject(json, "rule", rule->label);
	cJSON_AddStringToObject(json, "transform", rule->transform->rule_name);
	attrs = cJSON_AddObjectToObject(json, "attributes");
	for (int i = 0; i < n->n_attrs; i++) {
		const pai_attr *attr = &n->attrs[i];
		if (attr->type == PAI_ATTR_INT)
			cJSON_AddNumberToObject(attrs, attr->name, (double)attr->i);
		else if (attr->type == PAI_ATTR_FLOAT)
			cJSON_AddNumberToObject(attrs, attr->name, (double)attr->f);
		else if (attr->type == PAI_ATTR_STRING)
			cJSON_AddStringToObject(attrs, attr->name,
						pai_arena_strndup(a, attr->s.at, attr->s.n));
		else
			cJSON_AddItemToObject(
				attrs, attr->name,
				cJSON_CreateFloatArray(attr->list.f, (int)attr->list.n));
	}
	if (!p->tensor)
		return json;
	shape = cJSON_AddArrayToObject(json, "shape");
	for (int i = 0; i < p->tensor->rank; i++)
		cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)p->tensor->dims[i]));
	float low = 0, high = 0;
	const float *v = p->tensor->data;
	for (int64_t i = 0; i < pai_tensor_nelem(p->tensor); i++) {
		low = i == 0 || v[i] < low ? v[i] : low;
		high = i == 0 || v[i] > high ? v[i] : high;
	}
	cJSON_AddItemToObject(json, "range", cJSON_CreateFloatArray((float[]){low, high}, 2));
	return json;
}

static void record(pai_pass_run *r, pai_patch *out, const parameter *p, const pai_rule *rule,
		   const pai_node *n)
{
	state *s = r->state;
	entry *e = PAI_NEW(r->scratch, entry);
	e->json = describe(r->scratch, p, rule, n);
	pai_arena_defer(r->scratch, release_json, e->json);
	pai_patch_count(out, &e->applied, 1);
	PAI_PUSH(r->scratch, s->lock, e);
}

/* The node of the parameter's own graph before which the transform is placed. */
static const pai_node *first_reader(const pai_pass_run *r, const parameter *p)
{
	const pai_node *n = r->uses->n[p->tail->id] ? r->uses->of[p->tail->id][0].node : NULL;
	while (n && n->graph != p->value->graph) /* read in a body: before the node that has it */
		n = n->graph->owner;
	return n;
}

static pai_status insert(pai_pass_run *r, pai_patch *out, const parameter *p, const chain *c)
{
	pai_value *at = p->tail;
	if (p->transformed && !c->at[0]->append)
		return pai_fail(r->ctx, PAI_E_transform_exists, pai_at_value(p->value),
				"has a transform already; rule %s would replace it",
				c->at[0]->label);
	pai_patch_begin(out, first_reader(r, p), "add transform");
	if (!pai_graph_opset(p->value->graph, PAI_DOMAIN_TRANSFORM))
		pai_patch_import(out, PAI_DOMAIN_TRANSFORM, 1);
	for (int i = 0; i < c->n; i++) {
		const pai_rule *rule = c->at[i];
		const char *hint = pai_arena_printf(r->scratch, "%s_%s", p->value->name,
						    rule->transform->rule_name);
		const pai_op *op = pai_op_latest(PAI_DOMAIN_TRANSFORM, rule->transform->op_type);
		pai_value *in[2] = {at};
		bool random = op->traits & PAI_TRAIT_RANDOM;
		if (random)
			in[1] = PAI_OP1(out, "RandomUniformLike",
					pai_arena_printf(r->scratch, "%s_u", hint), p->value);
		pai_node *n = pai_patch_node(out, PAI_DOMAIN_TRANSFORM, op->name, hint,
					     random ? 2 : 1, in, 1);
		set_attributes(out, n, rule);
		pai_patch_set_prop(out, n, "pai.transform.rule", rule->label);
		PAI_TRY(check_compat(r, n, rule));
		PAI_TRY(try_values(r, n, rule));
		PAI_TRY(add_function(r, out, n));
		if (pai_item_string(r->item, options, "lock"))
			record(r, out, p, rule, n);
		at = n->out[0];
		pai_patch_count(out, &r->counts[INSERTED], 1);
	}
	pai_patch_replace(out, p->tail, at);
	return PAI_OK;
}

static pai_status run_parameters(pai_pass_run *r, pai_patch *out, const pai_graph *g)
{
	for (int i = 0; i < g->values.n; i++) {
		parameter p = {.value = g->values.at[i], .tail = g->values.at[i]};
		chain c;
		int unnamed;
		if (p.value->dead || !(p.tensor = pai_value_constant(p.value)))
			continue;
		collect_readers(r, g, &p);
		PAI_TRY(agree(r, &p, &c, &unnamed));
		if (!c.n || pai_tensor_nelem(p.tensor) == 0)
			continue;
		if (p.tensor->dtype != PAI_FLOAT) {
			r->counts[NOT_FLOAT]++;
		} else if (p.tail->is_output) {
			r->counts[IS_OUTPUT]++;
		} else {
			r->counts[SHARED] += p.readers.n > 1;
			r->counts[UNNAMED] += (uint64_t)unnamed;
			r->counts[EXISTING] += p.transformed;
			PAI_TRY(insert(r, out, &p, &c));
		}
	}
	return PAI_OK;
}

static chain chain_of_output(pai_pass_run *r, const pai_node *n, int slot)
{
	state *s = r->state;
	chain c = {0};
	for (int i = 0; i < s->n_rules; i++) {
		if (!pai_rule_matches_output(&s->rules[i], n, slot, n->out[slot]))
			continue;
		s->matched[i]++;
		if (!s->rules[i].append)
			c.n = 0;
		PAI_PUSH(r->scratch, c, &s->rules[i]);
	}
	return c;
}

/* The transforms that stand on an activation already: each its only reader. */
static void follow_transforms(const pai_pass_run *r, parameter *p)
{
	for (;;) {
		const pai_value *v = p->tail;
		if (v->is_output || pai_uses_count(r->uses, v) != 1)
			return;
		pai_node *n = r->uses->of[v->id][0].node;
		if (!pai_transform_of(n) || n->graph != v->graph || n->in[0] != v)
			return;
		p->tail = n->out[0];
		p->transformed = true;
	}
}

static pai_status run_activations(pai_pass_run *r, pai_patch *out, const pai_graph *g)
{
	for (int i = 0; i < g->nodes.n; i++) {
		const pai_node *n = g->nodes.at[i];
		for (int k = 0; k < n->n_out; k++) {
			if (!n->out[k] || pai_value_constant(n->out[k]) || pai_transform_of(n) ||
			    pai_node_is(n, "RandomUniformLike"))
				continue;
			parameter p = {.value = n->out[k], .tail = n->out[k]};
			chain c = chain_of_output(r, n, k);
			if (!c.n)
				continue;
			if (p.value->type.dtype != PAI_FLOAT) {
				r->counts[NOT_FLOAT]++;
				continue;
			}
			follow_transforms(r, &p);
			r->counts[EXISTING] += p.transformed;
			PAI_TRY(insert(r, out, &p, &c));
		}
	}
	return PAI_OK;
}

static pai_status run(pai_pass_run *r, pai_patch *out, const pai_graph *g)
{
	PAI_TRY(run_parameters(r, out, g));
	return run_activations(r, out, g);
}

static pai_status begin(pai_pass_run *r, pai_model *m)
{
	state *s = PAI_NEW(r->scratch, state);
	PAI_TRY(pai_rules_read(r->ctx, r->scratch, pai_item_string(r->item, options, "rules"),
			       &s->rules, &s->n_rules));
	s->matched = PAI_NEWS(r->scratch, uint64_t, s->n_rules);
	s->opset = pai_graph_opset(m->graph, "");
	s->compat = pai_map_new(r->scratch);
	PAI_TRY(pai_graph_walk(m->graph, note_compat, s));
	r->state = s;
	return PAI_OK;
}

static pai_status write_lock(pai_pass_run *r, const char *path)
{
	state *s = r->state;
	cJSON *root = cJSON_CreateObject();
	cJSON_AddNumberToObject(root, "schema", 1);
	cJSON *list = cJSON_AddArrayToObject(root, "transforms");
	for (int i = 0; i < s->lock.n; i++)
		if (s->lock.at[i]->applied)
			cJSON_AddItemReferenceToArray(list, s->lock.at[i]->json);
	char *text = cJSON_Print(root);
	cJSON_Delete(root);
	pai_writer *w;
	if (!text)
		return pai_fail(r->ctx, PAI_E_memory, pai_at_file(path), "no memory for its text");
	pai_status status = pai_writer_open(r->ctx, path, &w);
	if (status == PAI_OK) {
		pai_writer_printf(w, "%s\n", text);
		status = pai_writer_commit(w);
	}
	cJSON_free(text);
	return status;
}

/* Functions came with IR 8. */
static void raise_version(pai_model *m)
{
	if (m->ir_version >= 8 || pai_graph_opset(m->graph, "") < PAI_BODY_OPSET)
		return;
	pai_prop_set(m->arena, &m->props, PAI_PROP_IR_VERSION,
		     pai_arena_printf(m->arena, "%d", (int)m->ir_version));
	m->ir_version = 8;
}

static pai_status end(pai_pass_run *r, pai_model *m)
{
	state *s = r->state;
	const char *lock = pai_item_string(r->item, options, "lock");
	for (int i = 0; i < s->n_rules; i++)
		if (!s->matched[i])
			return pai_fail(r->ctx, PAI_E_rule_unused, pai_at_nothing(),
					"rule %s matches nothing", s->rules[i].label);
	if (r->counts[NOT_FLOAT] && !r->counts[INSERTED])
		return pai_fail(r->ctx, PAI_E_rule_unused, pai_at_nothing(),
				"the rules match only tensors that are not float32");
	if (r->counts[INSERTED])
		raise_version(m);
	return lock ? write_lock(r, lock) : PAI_OK;
}

const pai_pass pai_pass_add_transforms = {
	.name = "add-transforms",
	.summary = "put quantisation, rounding or dropout on parameters and activations, by rules",
	.needs = PAI_USES | PAI_SHAPES,
	.exactness = PAI_CHANGES,
	.once = true,
	.options = options,
	.stats = (const char *const[]){[INSERTED] = "inserted",
				       [SHARED] = "parameters with several readers",
				       [UNNAMED] = "readers of them that no rule names",
				       [NOT_FLOAT] = "left alone: not float32",
				       [IS_OUTPUT] = "left alone: a graph output",
				       [EXISTING] = "composed with an existing transform",
				       NULL},
	.begin = begin,
	.run = run,
	.end = end,
};
