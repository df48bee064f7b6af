/* plan.h -- the inside of a plan; private to the runtime.
 *
 * A plan is built in four phases. Lowering (plan_lower.c) walks the graph in order, gives every
 * value a slot and every node a unit, calls functions in place, and settles what can be settled:
 * shapes, and contents that no run can change. Emission turns units into steps: the fast builder of
 * the operator's row may take a unit, and further units with it, else the reference kernel does.
 * Layout (plan_memory.c) finds each slot a place in one arena from when it is first written and
 * last read. Then the plan is only a list of steps.
 */
#ifndef PAI_PLAN_H
#define PAI_PLAN_H

#include "runtime/run.h"

typedef enum pai_place {                /* where the contents of a slot are */
			 PAI_IN_ARENA,  /* the plan's arena */
			 PAI_IN_CONST,  /* known when the plan is built */
			 PAI_IN_INPUT,  /* the caller's, new with each run */
			 PAI_IN_BOUND,  /* the caller's, fixed: options->bound */
			 PAI_IN_BUFFER, /* a buffer of its own: shape known only when the producer
					   runs */
} pai_place;

typedef struct pai_slot {       /* one value of a plan */
	pai_tensor tensor;      /* what kernels are given; stable address */
	const pai_value *value; /* NULL: made by the plan, such as a reordered copy */
	pai_place place;
	struct pai_slot *root; /* whose memory it shares, at the same address; itself: nobody's */
	bool keep;             /* readable after the run */
	int readers;           /* units that read it, outputs of the graph included */
	struct pai_unit *maker, *reader; /* the unit that writes it; one that reads it */
	int shared;                      /* slots that have their memory here */
	bool channels_last;              /* its channels (axis 1) are last in memory */
	struct pai_mover *mover;         /* what it moves as a gradient; NULL: nothing */
	struct pai_slot *twin;           /* the same contents in the other order; NULL: not made */
	int last_unit;                   /* index of the last unit that reads it; -1: none */
	int first, last; /* steps of the first writer and the last reader of a root; -1: none */
	size_t offset;   /* in the arena */
	void *buffer;    /* PAI_IN_BUFFER */
	size_t buffer_bytes;
} pai_slot;

typedef struct pai_frame { /* values of the attributes of a function being executed */
	const struct pai_frame *outer;
	const pai_function *function;
	const pai_node *call; /* its attributes are resolved */
} pai_frame;

typedef struct pai_capture { /* a value that a subgraph reads from outside */
	const pai_value *value;
	pai_slot *slot;
} pai_capture;

typedef struct pai_unit { /* one node, resolved: operands are slots */
	const pai_node *node;
	const pai_kernel *kernel; /* NULL: none */
	int n_in, n_out;
	pai_slot **in, **out; /* NULL: omitted */
	bool dynamic;         /* an output's shape is found when it runs */
	bool dead;            /* nobody needs it, or another unit's step does its work */
	const pai_frame *frame;
	pai_capture *captures; /* of a node with subgraphs */
	int n_captures;
} pai_unit;

typedef struct pai_copy_out { /* contents the caller wants at an address they are not made at */
	pai_slot *from;
	void *to;
} pai_copy_out;

typedef struct pai_mover { /* a parameter that moves in the run */
	const pai_updates *updates;
	int index; /* in updates */
	pai_slot *parameter, *gradient;
	int wait; /* not before this unit is emitted */
	bool done;
} pai_mover;

typedef struct pai_step {
	pai_step_fn fn;
	void *args;
} pai_step;

typedef struct pai_node_step { /* arguments of a step that calls a kernel */
	pai_call call;         /* first, so that a hook finds the step from the call */
	struct pai_plan *plan;
	pai_unit *unit;
	pai_slot **out;
	struct pai_subplans *subplans; /* of a node with subgraphs; see plan_control.c */
	uint32_t calls;                /* of its subgraphs, since its kernel was last called */
} pai_node_step;

struct pai_plan {
	pai_ctx *ctx;
	pai_arena *arena; /* of everything but the contents */
	pai_plan_options options;
	const pai_frame *frame; /* of a subgraph inside a function */
	PAI_VEC(pai_slot *) slots;
	PAI_VEC(pai_unit *) units;
	PAI_VEC(pai_step) steps;
	PAI_VEC(pai_step_info) info; /* by step */
	PAI_VEC(pai_copy_out) copies;
	PAI_VEC(pai_slot *) views; /* slots at the address of an input, set with each run */
	pai_mover *movers;
	int n_movers, unit;           /* the unit being emitted */
	pai_slot *loss, *output;      /* before which nothing moves; NULL, or what it is taken of */
	bool begun;                   /* ... and the step that looks at it is emitted */
	double work;                  /* multiply-adds of the units, about */
	double charge;                /* what a run takes of its budget, */
	const pai_node *worst;        /* ... and what takes most of it; NULL: nothing does */
	const struct pai_own *own;    /* our arithmetic */
	pai_slot **inputs, **outputs; /* outputs: of the graph, then kept values */
	int n_inputs, n_outputs;
	pai_capture *captures; /* of a subgraph: set before each run, like inputs */
	int n_captures;
	void *memory; /* the arena of contents, */
	uint8_t *at;  /* ... aligned */
	size_t bytes;
	size_t held; /* of the budget of runs */
	int threads;
	struct pai_dnn *dnn; /* oneDNN's engine; NULL: not needed yet. See onednn.c */
	pai_run run;
};

/* plan_lower.c */
typedef struct pai_lowering { /* what a plan is made from */
	const pai_graph *graph;
	int n_inputs;
	const pai_tensor *const *inputs; /* rank -1: shape not known before the run */
	int n_captures;
	const pai_value *const *captured;     /* of a subgraph */
	const pai_tensor *const *captured_as; /* data where no run can change it, else NULL */
} pai_lowering;
PAI_MUST_USE pai_status pai_plan_lower(pai_plan *p, const pai_lowering *l);
pai_slot *pai_plan_slot(pai_plan *p, const pai_value *v, pai_place place);

/* plan_memory.c */
/* Counts bytes against the budget of runs until the plan is freed. */
PAI_MUST_USE pai_status pai_plan_hold(pai_plan *p, pai_where at, size_t nbytes);
PAI_MUST_USE pai_status pai_plan_layout(pai_plan *p);
/* Room for nbytes in the slot's own buffer. */
PAI_MUST_USE pai_status pai_slot_reserve(pai_plan *p, pai_slot *s, size_t nbytes);
void pai_plan_release(pai_plan *p); /* all contents */

/* plan_step.c */
/* Appends the step that calls the unit's reference kernel. */
PAI_MUST_USE pai_status pai_emit_kernel(pai_plan *p, pai_unit *u);
/* Calls the kernel while the plan is built; the contents end in buffers of the slots. */
PAI_MUST_USE pai_status pai_unit_run_now(pai_plan *p, pai_unit *u);
pai_status pai_step_output(pai_call *c, int o, pai_dtype dtype, int rank, const int64_t *dims);

/* plan_update.c */
enum { PAI_MOVE_WORK = 8 }; /* multiply-adds that moving one element is worth, about */
/* Emits the updates that nothing stands in the way of any more, once p->unit is emitted. */
void pai_emit_updates(pai_plan *p);
/* The update that alone reads the slot, where the step being built, which reads in[], may call
 * pai_mover_move for every element instead of writing the slot; it is then taken. Else NULL. */
const pai_mover *pai_mover_take(pai_plan *p, pai_slot *gradient, int n_in, pai_slot *const *in);
void pai_mover_move(const pai_mover *m, int64_t from, int64_t n, float scale, const float *g);

/* plan_control.c */
struct pai_subplans *pai_subplans_new(pai_plan *p, const pai_unit *u); /* freed with p */
pai_status pai_plan_subgraph(pai_call *c, const pai_graph *g, int n_in, const pai_tensor *const *in,
			     int n_out, pai_tensor *out);

/* plan.c */
PAI_MUST_USE pai_status pai_plan_build(pai_ctx *ctx, const pai_lowering *l, const pai_frame *frame,
				       const pai_plan_options *o, pai_plan **out);
/* Takes what a run needs from the budget. */
PAI_MUST_USE pai_status pai_plan_charge(pai_plan *p);
/* Runs the steps; the tensors of inputs and captures are set. */
PAI_MUST_USE pai_status pai_plan_execute(pai_plan *p);
/* Appends a step that works on these slots (NULL entries are fine), for their lifetimes. */
void pai_plan_emit(pai_plan *p, pai_step step, pai_step_info info, int n_in, pai_slot *const *in,
		   int n_out, pai_slot *const *out);

#endif
