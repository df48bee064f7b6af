/* add_dendrites.c -- gives layers dendrites: branches beside them that add a non-linear function of
 * the layer's input to its output.
 *
 * recipe=reference, each layer: D_j is a copy of the layer L (with a BatchNormalization behind it)
 * and a_j = f(D_j(x) + sum_{i<j} d2d[j][i] a_i),  y' = L(x) + sum_j top[j] a_j, per channel.
 * recipe=block, each span of two layers with activations between them: y' = Block(x) + T f(V x +
 * c), V with the geometry of the first layer, T with that of the last, pools between them repeated.
 *
 * top, d2d and T start at 0, so the outputs stay what they were, bit for bit. Standard operators
 * only; a layer that has dendrites gets the next ones. What the two recipes share is in
 * dendrites.c.
 */
#include "passes/dendrites.h"
#include <string.h>

enum { DENDRITES, LAYERS, NOT_SELECTED, NO_SPAN };

typedef struct settings {
	bool reference;
	int count;
	const char *select, *exclude;
	const pai_dendrite_activation *f; /* NULL: by the layer */
	const pai_dendrite_init *init;
	double scale, ratio, lr;
	int64_t width;  /* 0: from ratio */
	pai_map *known; /* of the graph at hand: what its layers have, by name */
} settings;

/* "op:Conv,enc*": of the operator, or the name. */
static bool listed(const char *list, const pai_layer *l)
{
	char item[256];
	while (*list) {
		size_t n = strcspn(list, ", ");
		if (n && n < sizeof item) {
			memcpy(item, list, n);
			item[n] = 0;
			if (strncmp(item, "op:", 3) == 0 ? pai_glob(item + 3, l->op->op_type)
							 : pai_glob(item, l->name))
				return true;
		}
		list += n + (list[n] != 0);
	}
	return false;
}

static bool selected(const settings *s, const pai_layer *l)
{
	return listed(s->select, l) && !(s->exclude && listed(s->exclude, l));
}

static pai_layers layers_of(pai_pass_run *r, const pai_graph *g)
{
	pai_layers layers = {0};
	pai_map *names = pai_map_new(r->scratch);
	for (int i = 0; i < g->nodes.n; i++) {
		pai_layer l;
		if (!pai_layer_of(r->uses, g->nodes.at[i], &l))
			continue;
		if (pai_map_get(names, l.name)) /* two nodes of one name */
			l.name = l.op->out[0]->name;
		pai_map_put(names, l.name, l.op);
		PAI_PUSH(r->scratch, layers, l);
	}
	return layers;
}

/* What a layer has already. */
typedef struct existing {
	pai_value *y;                /* its output with dendrites; NULL: it has none */
	int n;                       /* dendrites */
	PAI_VEC(pai_value *) active; /* a_i of the reference's cascade */
} existing;

/* By name of the layer. */
static pai_map *find_existing(pai_arena *a, const pai_graph *g)
{
	pai_map *map = pai_map_new(a);
	for (int i = 0; i < g->nodes.n; i++) {
		pai_node *n = g->nodes.at[i];
		const char *layer = pai_prop_get(&n->props, PAI_DENDRITE_LAYER);
		const char *role = pai_dendrite_prop(n, PAI_DENDRITE_ROLE);
		if (!layer)
			continue;
		existing *e = pai_map_get(map, layer);
		if (!e)
			pai_map_put(map, layer, e = PAI_NEW(a, existing));
		if (strcmp(role, "combine") == 0) {
			e->n++;
			e->y = n->out[0];
		} else if (strcmp(role, "activation") == 0 &&
			   strcmp(pai_dendrite_prop(n, PAI_DENDRITE_RECIPE), "reference") == 0) {
			PAI_PUSH(a, e->active, n->out[0]);
		}
	}
	return map;
}

/* A vector of C numbers that multiplies along the channels of y: [C] or [C, 1, ...]. */
static pai_status channel_vector(pai_branch *b, const char *part, pai_value **out)
{
	int64_t dims[PAI_MAX_RANK];
	int rank = 1 + b->layer->spatial;
	dims[0] = b->layer->channels;
	for (int i = 1; i < rank; i++)
		dims[i] = 1;
	return pai_branch_parameter(b, part, rank, dims, 0, 0, out);
}

static double fan_in(const pai_layer *l)
{
	return (double)pai_tensor_nelem(l->w) / (double)l->channels;
}

/* ---- recipe=reference ---- */

static pai_status normalised(pai_branch *b, double deviation, pai_value **z)
{
	static const char *const parts[] = {"norm.scale", "norm.bias", "norm.mean", "norm.var"};
	const pai_node *bn = b->layer->bn;
	pai_value *in[5] = {*z};
	for (int i = 0; i < 4; i++) {
		const pai_tensor *t = pai_parameter_of(bn->in[i + 1]);
		if (i < 2)
			PAI_TRY(pai_branch_parameter(b, parts[i], t->rank, t->dims, deviation, 0,
						     &in[i + 1]));
		else
			PAI_TRY(pai_branch_copy(b, parts[i], t, &in[i + 1]));
	}
	*z = pai_branch_node(b, "branch", "BatchNormalization", 5, in, bn->n_out, bn)->out[0];
	return PAI_OK;
}

/* D_j(x): the layer anew, every parameter random. */
static pai_status copy_of_layer(pai_branch *b, const settings *s, pai_value **out)
{
	const pai_layer *l = b->layer;
	double deviation = s->init->deviation(fan_in(l), s->scale);
	pai_value *in[3] = {l->x}, *bias = NULL;
	PAI_TRY(pai_branch_parameter(b, "weight", l->w->rank, l->w->dims, deviation, 0, &in[1]));
	if (l->b)
		PAI_TRY(pai_branch_parameter(b, "bias", l->b->rank, l->b->dims, deviation, 0,
					     &bias));
	in[2] = l->add ? NULL : bias;
	*out = pai_branch_node(b, "branch", l->op->op_type, in[2] ? 3 : 2, in, 1, l->op)->out[0];
	if (l->add)
		*out = pai_branch_node(b, "branch", "Add", 2, (pai_value *[]){*out, bias}, 1, NULL)
			       ->out[0];
	return l->bn ? normalised(b, deviation, out) : PAI_OK;
}

static pai_value *combine(pai_branch *b, pai_value *y, pai_value *term)
{
	return pai_branch_node(b, "combine", "Add", 2, (pai_value *[]){y, term}, 1, NULL)->out[0];
}

static pai_status reference_dendrite(pai_branch *b, pai_pass_run *r, const settings *s, existing *e)
{
	pai_value *z, *weight;
	PAI_TRY(copy_of_layer(b, s, &z));
	for (int i = 0; i < e->active.n; i++) {
		PAI_TRY(channel_vector(b, pai_arena_printf(b->arena, "d2d.%d", i), &weight));
		pai_value *term[2] = {weight, e->active.at[i]};
		term[1] = pai_branch_node(b, "branch", "Mul", 2, term, 1, NULL)->out[0];
		term[0] = z;
		z = pai_branch_node(b, "branch", "Add", 2, term, 1, NULL)->out[0];
	}
	pai_value *a = pai_branch_activate(b, s->f, z);
	PAI_PUSH(r->scratch, e->active, a);
	PAI_TRY(channel_vector(b, "top", &weight));
	pai_value *term =
		pai_branch_node(b, "branch", "Mul", 2, (pai_value *[]){weight, a}, 1, NULL)->out[0];
	e->y = combine(b, e->y, term);
	return PAI_OK;
}

/* ---- recipe=block ---- */

/* V and T: the geometry of a layer, `in` channels to `out`, one group. */
static pai_status like_layer(pai_branch *b, const char *part, const pai_layer *l, pai_value *x,
			     int64_t in, int64_t out, double deviation, pai_value *bias,
			     pai_value **y)
{
	int64_t dims[PAI_MAX_RANK] = {in, out};
	const char *op = l->spatial                           ? l->op->op_type
			 : bias && pai_node_is(l->op, "Gemm") ? "Gemm"
							      : "MatMul";
	for (int i = 2; i < l->w->rank; i++)
		dims[i] = l->w->dims[i];
	if (pai_node_is(l->op, "Conv")) {
		dims[0] = out;
		dims[1] = in;
	}
	pai_value *operands[3] = {x, NULL, bias};
	PAI_TRY(pai_branch_parameter(b, part, l->w->rank, dims, deviation, 0, &operands[1]));
	bool split = bias && strcmp(op, "MatMul") == 0;
	pai_node *n = pai_branch_node(b, "branch", op, bias && !split ? 3 : 2, operands, 1,
				      l->spatial ? l->op : NULL);
	if (l->spatial)
		pai_patch_set_int(b->patch, n, "group", 1);
	*y = n->out[0];
	if (split)
		*y = pai_branch_node(b, "branch", "Add", 2, (pai_value *[]){*y, bias}, 1, NULL)
			     ->out[0];
	return PAI_OK;
}

/* Units of the branch: given, or as many as make its parameters `ratio` of the span's. */
static int64_t width_of(const settings *s, const pai_span *sp)
{
	if (s->width > 0)
		return s->width;
	int64_t kernel_v = 1, kernel_t = 1;
	for (int i = 2; i < sp->first->w->rank; i++)
		kernel_v *= sp->first->w->dims[i];
	for (int i = 2; i < sp->last->w->rank; i++)
		kernel_t *= sp->last->w->dims[i];
	double unit = (double)pai_layer_inputs(sp->first) * (double)kernel_v + 1 +
		      (double)sp->per_channel * (double)kernel_t * (double)sp->last->channels;
	double have = (double)pai_tensor_nelem(sp->first->w) + (double)sp->first->channels +
		      (double)pai_tensor_nelem(sp->last->w);
	double width = s->ratio * have / unit + 1e-9;
	return width < 1 ? 1 : (int64_t)width;
}

static const pai_dendrite_activation *default_activation(const pai_layer *l)
{
	const pai_dendrite_activation *gelu = pai_dendrite_activation_find("gelu");
	return l->spatial || pai_graph_opset(l->op->graph, "") < gelu->opset
		       ? pai_dendrite_activation_find("abs")
		       : gelu;
}

static pai_status block_dendrite(pai_branch *b, const settings *s, const pai_span *sp, existing *e)
{
	const pai_layer *first = sp->first, *last = sp->last;
	int64_t r = width_of(s, sp), in = pai_layer_inputs(first), taps = 1;
	for (int i = 2; i < first->w->rank; i++)
		taps *= first->w->dims[i];
	pai_value *c, *h, *t;
	double deviation = s->init->deviation((double)in * (double)taps, s->scale);
	PAI_TRY(pai_branch_parameter(b, "c", 1, &r, 0, 0, &c));
	PAI_TRY(like_layer(b, "V", first, first->x, in, r, deviation, c, &h));
	h = pai_branch_activate(b, s->f ? s->f : default_activation(first), h);
	for (int i = 0; i < sp->between.n; i++) {
		const pai_node *n = sp->between.at[i];
		bool pool = pai_is_pool(n);
		h = pai_branch_node(b, "branch", pool ? n->op_type : "Flatten", 1, &h, 1,
				    pool ? n : NULL)
			    ->out[0];
	}
	PAI_TRY(like_layer(b, "T", last, h, r * sp->per_channel, last->channels, 0, NULL, &t));
	e->y = combine(b, e->y, t);
	return PAI_OK;
}

/* ---- both ---- */

static pai_status grow(pai_pass_run *r, pai_patch *out, const settings *s, const pai_layer *l,
		       const pai_span *sp)
{
	const existing *has = pai_map_get(s->known, l->name);
	existing e = has ? *has : (existing){0};
	if (!e.y)
		e.y = l->y;
	pai_value *before = e.y;
	pai_branch b = {.ctx = r->ctx,
			.patch = out,
			.arena = l->op->graph->model->arena,
			.layer = l,
			.recipe = s->reference ? "reference" : "block",
			.dtype = l->w->dtype,
			.lr = s->lr};
	pai_node *at = before->is_output || !pai_uses_count(r->uses, before)
			       ? NULL
			       : r->uses->of[before->id][0].node;
	while (at && at->graph != l->op->graph)
		at = at->graph->owner;
	pai_patch_begin(out, at, "dendrite");
	for (int i = 0; i < s->count; i++) {
		b.index = e.n++;
		PAI_TRY(sp ? block_dendrite(&b, s, sp, &e) : reference_dendrite(&b, r, s, &e));
		pai_patch_count(out, &r->counts[DENDRITES], 1);
	}
	pai_patch_replace(out, before, e.y);
	pai_patch_count(out, &r->counts[LAYERS], 1);
	return PAI_OK;
}

static pai_status run_reference(pai_pass_run *r, pai_patch *out, const pai_layers *layers)
{
	const settings *s = r->state;
	for (int i = 0; i < layers->n; i++) {
		if (selected(s, &layers->at[i]))
			PAI_TRY(grow(r, out, s, &layers->at[i], NULL));
		else
			r->counts[NOT_SELECTED]++;
	}
	return PAI_OK;
}

/* Spans share no layer where that is possible: first come, first served from the input on; a layer
 * left over then takes part in a second span. */
static pai_status run_block(pai_pass_run *r, pai_patch *out, const pai_layers *layers)
{
	const settings *s = r->state;
	bool *covered = PAI_NEWS(r->scratch, bool, layers->n);
	bool *has = PAI_NEWS(r->scratch, bool, layers->n);
	for (int round = 0; round < 2; round++)
		for (int i = 0; i < layers->n; i++) {
			pai_span sp;
			if (has[i] || (round && covered[i]) || !selected(s, &layers->at[i]) ||
			    !pai_span_of(r->scratch, layers, &layers->at[i], &sp))
				continue;
			ptrdiff_t first = sp.first - layers->at;
			if (round == 0 && (covered[i] || covered[first]))
				continue;
			covered[i] = covered[first] = has[i] = true;
			PAI_TRY(grow(r, out, s, &layers->at[i], &sp));
		}
	for (int i = 0; i < layers->n; i++) {
		bool chosen = selected(s, &layers->at[i]);
		r->counts[chosen ? NO_SPAN : NOT_SELECTED] += !covered[i];
	}
	return PAI_OK;
}

static pai_status run(pai_pass_run *r, pai_patch *out, const pai_graph *g)
{
	settings *s = r->state;
	pai_layers layers = layers_of(r, g);
	s->known = find_existing(r->scratch, g);
	return s->reference ? run_reference(r, out, &layers) : run_block(r, out, &layers);
}

static const pai_option options[] = {
	{.name = "recipe",
	 .type = PAI_OPT_STRING,
	 .def = "block",
	 .choices = "block|reference",
	 .help = "a branch around two layers, or copies of each layer"},
	{.name = "count",
	 .type = PAI_OPT_INT,
	 .def = "1",
	 .min = 1,
	 .max = 64,
	 .help = "dendrites each"},
	{.name = "select",
	 .type = PAI_OPT_STRING,
	 .def = "*",
	 .help = "layers by name or op:TYPE, comma-separated globs; of a span: its last layer"},
	{.name = "exclude", .type = PAI_OPT_STRING, .help = "layers to leave alone, likewise"},
	{.name = "f",
	 .type = PAI_OPT_STRING,
	 .def = "auto",
#define ACTIVATION(name, opset, meaning) "|" #name
#define INIT(name, meaning)
	 .choices = "auto"
#include "passes/dendrites.def"
	 ,
#undef INIT
#undef ACTIVATION
	 .help = "activation; auto: sigmoid (reference), abs (images) or gelu (block)"},
	{.name = "init",
	 .type = PAI_OPT_STRING,
	 .def = "auto",
#define ACTIVATION(name, opset, meaning)
#define INIT(name, meaning) "|" #name
	 .choices = "auto"
#include "passes/dendrites.def"
	 ,
#undef INIT
#undef ACTIVATION
	 .help = "of new weights; auto: normal (reference) or he (block)"},
	{.name = "init_scale",
	 .type = PAI_OPT_FLOAT,
	 .def = "0.01",
	 .help = "deviation of init=normal"},
	{.name = "width",
	 .type = PAI_OPT_INT,
	 .def = "0",
	 .min = 0,
	 .max = 1 << 20,
	 .help = "units of a block branch; 0: by ratio"},
	{.name = "ratio",
	 .type = PAI_OPT_FLOAT,
	 .def = "1",
	 .min = 1e-6,
	 .max = 1000,
	 .help = "parameters of a block branch, of those of its span"},
	{.name = "lr",
	 .type = PAI_OPT_FLOAT,
	 .def = "0",
	 .min = 0,
	 .max = 1000,
	 .help = "factor of the learning rate of new parameters; 0: 3 (block) or 1"},
	{.name = NULL},
};

/* Before opset 7 the operators between branches did not broadcast by themselves. */
static pai_status check_opset(pai_ctx *ctx, const pai_model *m, const settings *s)
{
	const int64_t opset = pai_graph_opset(m->graph, ""), needs = s->f ? s->f->opset : 7;
	if (opset >= needs)
		return PAI_OK;
	return pai_fail(ctx, PAI_E_dendrite_opset, pai_at_file(m->path),
			"dendrites%s%s need opset %lld, the model imports %lld",
			s->f ? " with f=" : "", s->f ? s->f->name : "", (long long)needs,
			(long long)opset);
}

static pai_status begin(pai_pass_run *r, pai_model *m)
{
	settings *s = PAI_NEW(r->scratch, settings);
	const char *f = pai_item_string(r->item, options, "f");
	const char *init = pai_item_string(r->item, options, "init");
	s->reference = strcmp(pai_item_string(r->item, options, "recipe"), "reference") == 0;
	s->count = (int)pai_item_int(r->item, options, "count");
	s->select = pai_item_string(r->item, options, "select");
	s->exclude = pai_item_string(r->item, options, "exclude");
	s->scale = pai_item_float(r->item, options, "init_scale");
	s->width = pai_item_int(r->item, options, "width");
	s->ratio = pai_item_float(r->item, options, "ratio");
	s->lr = pai_item_float(r->item, options, "lr");
	if (s->lr == 0)
		s->lr = s->reference ? 1 : 3;
	if (strcmp(init, "auto") == 0)
		init = s->reference ? "normal" : "he";
	if (strcmp(f, "auto") != 0 || s->reference)
		s->f = pai_dendrite_activation_find(strcmp(f, "auto") == 0 ? "sigmoid" : f);
	s->init = pai_dendrite_init_find(init);
	r->state = s;
	return check_opset(r->ctx, m, s);
}

static pai_status end(pai_pass_run *r, pai_model *m)
{
	(void)m;
	if (!r->counts[LAYERS])
		return pai_fail(r->ctx, PAI_E_no_layer, pai_at_nothing(),
				r->counts[NO_SPAN]
					? "no two layers with an activation between them "
					  "can take a block dendrite"
					: "no layer is selected");
	return PAI_OK;
}

const pai_pass pai_pass_add_dendrites = {
	.name = "add-dendrites",
	.summary = "add branches to layers that training can use; outputs stay what they are",
	.needs = PAI_USES | PAI_SHAPES,
	.exactness = PAI_EXACT,
	.once = true,
	.options = options,
	.stats = (const char *const[]){[DENDRITES] = "dendrites",
				       [LAYERS] = "layers or spans that got some",
				       [NOT_SELECTED] = "layers not selected",
				       [NO_SPAN] = "layers without a span",
				       NULL},
	.begin = begin,
	.run = run,
	.end = end,
};
