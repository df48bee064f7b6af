/* test_patch.c -- patches: what they may do, what they refuse, and the order they leave. */
#include "compiler/compiler.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

typedef struct fixture { /* x -> a:Relu -> t -> b:Neg -> y, with w beside, and x -> c:Abs -> z */
	pai_ctx *ctx;
	pai_model *m;
	pai_graph *g;
	pai_value *x, *t, *y, *z, *w;
	pai_node *a, *b, *c;
} fixture;

static pai_value *value(pai_graph *g, const char *name)
{
	pai_value *v = pai_graph_add_value(g, name);
	v->type = (pai_type){.kind = PAI_TYPE_TENSOR, .dtype = PAI_FLOAT, .rank = -1};
	return v;
}

static pai_node *node(pai_graph *g, const char *op, const char *name, pai_value *in, pai_value *out)
{
	pai_node *n = pai_graph_add_node(g, "", op, 1, 1);
	n->name = name;
	n->in[0] = in;
	n->out[0] = out;
	out->producer = n;
	return n;
}

static int set_up(void **state)
{
	static fixture f;
	f.ctx = pai_ctx_new(NULL);
	f.m = pai_model_new(f.ctx, "g", 17);
	f.g = f.m->graph;
	f.x = value(f.g, "x");
	f.t = value(f.g, "t");
	f.y = value(f.g, "y");
	f.z = value(f.g, "z");
	f.w = value(f.g, "w");
	f.w->init = pai_tensor_from_float(f.m->arena, 2);
	f.x->is_input = f.y->is_output = f.z->is_output = true;
	PAI_PUSH(f.m->arena, f.g->inputs, f.x);
	PAI_PUSH(f.m->arena, f.g->outputs, f.y);
	PAI_PUSH(f.m->arena, f.g->outputs, f.z);
	PAI_PUSH(f.m->arena, f.g->inits, f.w);
	f.a = node(f.g, "Relu", "a", f.x, f.t);
	f.b = node(f.g, "Neg", "b", f.t, f.y);
	f.c = node(f.g, "Abs", "c", f.x, f.z);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	fixture *f = *state;
	pai_model_free(f->m);
	pai_ctx_free(f->ctx);
	return 0;
}

static const char *order(const fixture *f)
{
	char *s = "";
	for (int i = 0; i < f->g->nodes.n; i++)
		s = pai_arena_printf(f->m->arena, "%s%s%s", s, i ? " " : "",
				     f->g->nodes.at[i]->op_type);
	return s;
}

static pai_applied apply(pai_patch *p)
{
	pai_applied done;
	assert_int_equal(pai_patch_apply(p, -1, &done), PAI_OK);
	return done;
}

static void nothing_changes_before_apply(void **state)
{
	fixture *f = *state;
	pai_patch *p = pai_patch_new(f->g);
	pai_patch_begin(p, f->b, "insert");
	pai_patch_replace(p, f->t, PAI_OP1(p, "Exp", "e", f->t));
	assert_string_equal(order(f), "Relu Neg Abs");
	assert_ptr_equal(f->b->in[0], f->t);
	assert_int_equal(f->m->epoch, 0);
}

static void a_node_is_inserted_at_its_place(void **state)
{
	fixture *f = *state;
	pai_patch *p = pai_patch_new(f->g);
	pai_patch_begin(p, f->b, "insert");
	pai_value *e = PAI_OP1(p, "Exp", "t", f->t);
	pai_patch_replace(p, f->t, e);
	assert_int_equal(apply(p).applied, 1);
	assert_string_equal(order(f), "Relu Exp Neg Abs");
	assert_ptr_equal(e->producer->in[0], f->t); /* not its own output */
	assert_ptr_equal(f->b->in[0], e);
	assert_string_equal(e->name, "t_1"); /* t is taken */
	assert_int_equal(f->m->epoch, 1);
}

static void a_place_that_is_too_early_moves(void **state)
{
	fixture *f = *state;
	pai_patch *p = pai_patch_new(f->g);
	pai_patch_begin(p, f->a, "insert"); /* before the node that makes its operand */
	pai_patch_replace(p, f->t, PAI_OP1(p, "Exp", "e", f->t));
	apply(p);
	assert_string_equal(order(f), "Relu Exp Neg Abs");
}

static void what_an_earlier_group_made_impossible_is_stale(void **state)
{
	fixture *f = *state;
	pai_patch *p = pai_patch_new(f->g);
	pai_patch_begin(p, f->a, "t is x");
	pai_patch_replace(p, f->t, f->x);
	pai_patch_begin(p, f->b, "y is t"); /* and so x, which an output cannot be */
	pai_patch_replace(p, f->y, f->t);
	pai_applied done = apply(p);
	assert_int_equal(done.applied, 1);
	assert_int_equal(done.stale, 1);
	assert_ptr_equal(f->g->outputs.at[0], f->y);
	assert_ptr_equal(f->b->in[0], f->x);
}

static void an_output_keeps_its_name(void **state)
{
	fixture *f = *state;
	pai_patch *p = pai_patch_new(f->g);
	pai_patch_begin(p, NULL, "behind the output");
	pai_value *e = PAI_OP1(p, "Exp", "e", f->y);
	pai_patch_replace(p, f->y, e);
	apply(p);
	assert_ptr_equal(f->g->outputs.at[0], e);
	assert_string_equal(e->name, "y");
	assert_true(e->is_output && !f->y->is_output);
	assert_string_not_equal(f->y->name, "y");
	assert_ptr_equal(pai_graph_value(f->g, "y"), e);
	assert_string_equal(order(f), "Relu Neg Abs Exp");
}

static void undoing_restores_names_and_order(void **state)
{
	fixture *f = *state;
	pai_patch *p = pai_patch_new(f->g);
	pai_patch_begin(p, f->c, "behind the output");
	pai_value *e = PAI_OP1(p, "Exp", "e", f->y);
	pai_patch_replace(p, f->y, e);
	apply(p);
	p = pai_patch_new(f->g);
	pai_patch_begin(p, NULL, "undo");
	pai_patch_replace(p, e, f->y);
	pai_patch_erase(p, e->producer);
	apply(p);
	assert_string_equal(f->g->outputs.at[0]->name, "y");
	assert_ptr_equal(f->g->outputs.at[0], f->y);
	assert_string_equal(order(f), "Relu Neg Abs");
}

static void operands_follow_earlier_groups(void **state)
{
	fixture *f = *state;
	pai_patch *p = pai_patch_new(f->g);
	pai_patch_begin(p, f->a, "drop a");
	pai_patch_replace(p, f->t, f->x);
	pai_patch_erase(p, f->a);
	pai_patch_begin(p, f->b, "drop b, which read a");
	pai_value *e = PAI_OP1(p, "Exp", "e", f->t);
	pai_patch_replace(p, f->y, e);
	pai_patch_erase(p, f->b);
	assert_int_equal(apply(p).applied, 2);
	assert_ptr_equal(e->producer->in[0], f->x);
	assert_string_equal(e->name, "y");
	assert_string_equal(order(f), "Exp Abs");
}

static void what_an_earlier_group_took_is_stale(void **state)
{
	fixture *f = *state;
	pai_patch *p = pai_patch_new(f->g);
	pai_patch_begin(p, f->a, "drop a");
	pai_patch_replace(p, f->t, f->x);
	pai_patch_erase(p, f->a);
	pai_patch_begin(p, f->a, "drop a again");
	pai_patch_replace(p, f->t, f->x);
	pai_patch_erase(p, f->a);
	pai_applied done = apply(p);
	assert_int_equal(done.applied, 1);
	assert_int_equal(done.stale, 1);
}

static void a_limit_stops_between_groups(void **state)
{
	fixture *f = *state;
	pai_patch *p = pai_patch_new(f->g);
	pai_patch_begin(p, f->b, "one");
	pai_patch_replace(p, f->t, PAI_OP1(p, "Exp", "e", f->t));
	pai_patch_begin(p, f->c, "two");
	pai_patch_rewire(p, f->c, 0, f->t);
	pai_applied done;
	assert_int_equal(pai_patch_apply(p, 1, &done), PAI_OK);
	assert_int_equal(done.applied, 1);
	assert_ptr_equal(f->c->in[0], f->x);
}

typedef void (*propose_fn)(fixture *f, pai_patch *p);

static void erase_what_is_read(fixture *f, pai_patch *p)
{
	pai_patch_erase(p, f->a);
}

static void erase_an_output(fixture *f, pai_patch *p)
{
	pai_patch_erase(p, f->c);
}

static void make_a_cycle(fixture *f, pai_patch *p)
{
	pai_patch_rewire(p, f->a, 0, f->y);
}

/* Through a new node that stands too late, and a replacement of what it reads by what it makes. */
static void make_a_longer_cycle(fixture *f, pai_patch *p)
{
	pai_value *e = PAI_OP1(p, "Exp", "e", f->y);
	pai_patch_replace(p, f->x, PAI_OP1(p, "Log", "l", e));
}

/* Through a body. */
static void make_a_cycle_below(fixture *f, pai_patch *p)
{
	pai_node *n = pai_patch_node(p, "", "If", "i", 1, &f->w, 1);
	pai_graph *body = pai_graph_new(f->m, f->g, n, "body");
	pai_attr *attr = PAI_NEW(f->m->arena, pai_attr);
	node(body, "Neg", "inner", f->y, value(body, "b"));
	*attr = (pai_attr){.name = "then_branch", .type = PAI_ATTR_GRAPH, .g = body};
	n->attrs = attr;
	n->n_attrs = 1;
	pai_patch_rewire(p, f->a, 0, n->out[0]);
}

static void change_a_type(fixture *f, pai_patch *p)
{
	pai_value *v = pai_patch_init(p, "i", pai_tensor_from_ints(f->m->arena, 1, (int64_t[]){1}));
	pai_patch_replace(p, f->t, v);
}

static void replace_an_output_by_an_input(fixture *f, pai_patch *p)
{
	pai_patch_replace(p, f->y, f->x);
}

static void replace_an_output_by_an_output(fixture *f, pai_patch *p)
{
	pai_patch_replace(p, f->y, f->z);
}

static void change_a_size(fixture *f, pai_patch *p)
{
	pai_patch_set_init(p, f->w, pai_tensor_from_ints(f->m->arena, 2, (int64_t[]){1, 2}));
}

static void take_a_name(fixture *f, pai_patch *p)
{
	pai_value *v = pai_patch_init(p, "i", pai_tensor_from_float(f->m->arena, 1));
	pai_patch_name(p, v, "x");
	(void)f;
}

static void rewire_a_missing_slot(fixture *f, pai_patch *p)
{
	pai_patch_rewire(p, f->a, 1, f->x);
}

static void wrong_rewrites_are_refused(void **state)
{
	static const propose_fn wrong[] = {
		erase_what_is_read,
		erase_an_output,
		make_a_cycle,
		make_a_longer_cycle,
		make_a_cycle_below,
		change_a_type,
		replace_an_output_by_an_input,
		replace_an_output_by_an_output,
		change_a_size,
		take_a_name,
		rewire_a_missing_slot,
	};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		if (i) {
			tear_down(state);
			set_up(state);
		}
		fixture *f = *state;
		pai_patch *p = pai_patch_new(f->g);
		pai_patch_begin(p, NULL, "wrong");
		wrong[i](f, p);
		pai_applied done;
		assert_int_equal(pai_patch_apply(p, -1, &done), PAI_INTERNAL);
		assert_int_equal(pai_diag_get(f->ctx, 0)->code, PAI_E_patch_invalid);
		assert_int_equal(f->m->epoch, 0); /* and nothing of them is done */
		assert_string_equal(order(f), "Relu Neg Abs");
		assert_ptr_equal(f->a->in[0], f->x);
		assert_ptr_equal(f->b->in[0], f->t);
	}
}

/* A group against the order is allowed where an order is left; one after it is still checked. */
static void groups_may_turn_the_order(void **state)
{
	fixture *f = *state;
	pai_patch *p = pai_patch_new(f->g);
	pai_patch_begin(p, NULL, "the first reads what the last makes");
	pai_patch_rewire(p, f->a, 0, f->z);
	pai_patch_begin(p, f->c, "inserted at its new place");
	pai_patch_replace(p, f->x, PAI_OP1(p, "Exp", "e", f->x));
	pai_patch_begin(p, NULL, "wrong");
	pai_patch_rewire(p, f->c, 0, f->t);
	pai_applied done;
	assert_int_equal(pai_patch_apply(p, -1, &done), PAI_INTERNAL);
	assert_int_equal(done.applied, 2);
	assert_string_equal(order(f), "Exp Abs Relu Neg");
	assert_int_equal(pai_diag_count(f->ctx), 1);
}

static void exact_names_can_be_used_again(void **state)
{
	fixture *f = *state;
	for (int k = 0; k < 3; k++) {
		pai_patch *p = pai_patch_new(f->g);
		pai_patch_begin(p, NULL, "add");
		pai_value *v = pai_patch_init(p, "i", pai_tensor_from_float(f->m->arena, 1));
		pai_patch_name(p, v, "layer.top");
		assert_int_equal(apply(p).applied, 1);
		assert_string_equal(v->name, "layer.top");
		assert_string_equal(v->init->name, "layer.top");
		p = pai_patch_new(f->g);
		pai_patch_begin(p, NULL, "remove");
		pai_patch_erase_init(p, v);
		apply(p);
	}
	assert_int_equal(f->g->inits.n, 1);
}

static void a_long_chain_goes_in_one_patch(void **state)
{
	fixture *f = *state;
	enum { N = 2000 };
	pai_value *v = f->z;
	f->z->is_output = false;
	pai_node *chain[N];
	for (int i = 0; i < N; i++) {
		pai_value *next = value(f->g, pai_arena_printf(f->m->arena, "v%d", i));
		chain[i] = node(f->g, "Identity", "", v, next);
		v = next;
	}
	v->is_output = true;
	f->g->outputs.at[1] = v;
	pai_patch *p = pai_patch_new(f->g);
	for (int i = 0; i < N; i++) {
		pai_patch_begin(p, chain[i], "identity");
		pai_patch_replace(p, chain[i]->out[0], chain[i]->in[0]);
		pai_patch_erase(p, chain[i]);
	}
	assert_int_equal(apply(p).applied, N);
	assert_string_equal(order(f), "Relu Neg Abs");
	assert_ptr_equal(f->g->outputs.at[1], f->z);
	assert_string_equal(f->z->name, "v1999");
}

static void clones_do_not_share_structure(void **state)
{
	fixture *f = *state;
	pai_model *copy = pai_model_clone(f->m);
	pai_patch *p = pai_patch_new(copy->graph);
	pai_patch_begin(p, NULL, "drop");
	pai_node *b = copy->graph->nodes.at[1];
	pai_patch_replace(p, b->out[0], PAI_OP1(p, "Exp", "e", b->in[0]));
	pai_patch_erase(p, b);
	pai_applied done;
	assert_int_equal(pai_patch_apply(p, -1, &done), PAI_OK);
	assert_string_equal(order(f), "Relu Neg Abs");
	assert_int_equal(copy->graph->nodes.n, 3);
	assert_ptr_equal(f->g->outputs.at[0], f->y);
	pai_model_free(copy);
	p = pai_patch_new(f->g); /* names are made anew after the copy has gone */
	pai_patch_begin(p, NULL, "more");
	pai_patch_replace(p, f->t, PAI_OP1(p, "Exp", "t", f->x));
	pai_patch_erase(p, f->a);
	apply(p);
}

/* What is erased but still read is found before anything of the group is done. */
static void a_refused_group_leaves_no_trace(void **state)
{
	fixture *f = *state;
	for (int i = 0; i < 5; i++) {
		pai_patch *p = pai_patch_new(f->g);
		pai_patch_begin(p, f->a, "wrong");
		pai_value *e = PAI_OP1(p, "Exp", "e", i == 1 ? f->t : f->x);
		if (i == 0) /* b reads t */
			pai_patch_rewire(p, f->c, 0, e);
		if (i == 1) /* the new node reads t itself */
			pai_patch_replace(p, f->t, e);
		if (i == 2) /* and so does c */
			pai_patch_rewire(p, f->c, 0, f->t);
		if (i >= 2)
			pai_patch_rewire(p, f->b, 0, e);
		if (i == 3) /* an output */
			pai_patch_erase(p, f->b);
		if (i == 4) {
			pai_patch_rewire(p, f->c, 0, f->w);
			pai_patch_erase_init(p, f->w);
		}
		pai_patch_erase(p, f->a);
		pai_applied done;
		assert_int_equal(pai_patch_apply(p, -1, &done), PAI_INTERNAL);
		assert_int_equal(done.applied, 0);
		assert_string_equal(order(f), "Relu Neg Abs");
		assert_ptr_equal(f->b->in[0], f->t);
		assert_ptr_equal(f->c->in[0], f->x);
		assert_ptr_equal(f->g->outputs.at[0], f->y);
		assert_int_equal(f->g->inits.n, 1);
		assert_false(f->t->dead || f->w->dead || f->a->dead);
		assert_null(pai_graph_value(f->g, "e"));
	}
	pai_patch *p = pai_patch_new(f->g); /* and the same group without the fault applies */
	pai_patch_begin(p, f->a, "right");
	pai_patch_replace(p, f->t, PAI_OP1(p, "Exp", "e", f->x));
	pai_patch_erase(p, f->a);
	apply(p);
	assert_string_equal(order(f), "Exp Neg Abs");
}

/* Readers leave a value one by one: the time must not grow with their square. */
static void many_readers_leave_one_value(void **state)
{
	enum { N = 100000 };
	fixture *f = *state;
	for (int i = 0; i < N; i++)
		node(f->g, "Neg", "n", f->x, value(f->g, pai_arena_printf(f->m->arena, "v%d", i)));
	pai_patch *p = pai_patch_new(f->g);
	for (int i = 3; i < f->g->nodes.n; i++) {
		pai_patch_begin(p, f->g->nodes.at[i], "dead");
		pai_patch_erase(p, f->g->nodes.at[i]);
	}
	clock_t start = clock();
	assert_int_equal(apply(p).applied, N);
	assert_true(clock() - start < 20 * CLOCKS_PER_SEC); /* 0.2 s; with the square 40 s */
	assert_int_equal(f->g->nodes.n, 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_changes_before_apply),
		TEST(a_node_is_inserted_at_its_place),
		TEST(what_an_earlier_group_made_impossible_is_stale),
		TEST(a_place_that_is_too_early_moves),
		TEST(an_output_keeps_its_name),
		TEST(undoing_restores_names_and_order),
		TEST(operands_follow_earlier_groups),
		TEST(what_an_earlier_group_took_is_stale),
		TEST(a_limit_stops_between_groups),
		TEST(wrong_rewrites_are_refused),
		TEST(groups_may_turn_the_order),
		TEST(exact_names_can_be_used_again),
		TEST(a_long_chain_goes_in_one_patch),
		TEST(clones_do_not_share_structure),
		TEST(a_refused_group_leaves_no_trace),
		TEST(many_readers_leave_one_value),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
