/* build_value.c -- types, values and tensors to messages. A tensor whose contents stand outside the
 * file, now or as it was read, is a message without contents and with an entry that tells where.
 */
#include "compiler/build.h"
#include <inttypes.h>

void *pai_build_start(const pai_builder *b, const ProtobufCMessageDescriptor *type,
		      const void *origin)
{
	ProtobufCMessage *m = pai_arena_alloc(b->arena, type->sizeof_message);
	if (pai_origin_is(origin, type))
		pai_copy(m, origin, type->sizeof_message);
	else
		protobuf_c_message_init(type, m);
	return m;
}

Onnx__StringStringEntryProto *pai_build_entry(const pai_builder *b, const char *key,
					      const char *value)
{
	Onnx__StringStringEntryProto *e =
		pai_build_start(b, &onnx__string_string_entry_proto__descriptor, NULL);
	e->key = (char *)key;
	e->value = (char *)value;
	return e;
}

bool pai_build_same_type(const pai_type *a, const pai_type *b)
{
	if (a->kind != b->kind || a->dtype != b->dtype || a->rank != b->rank)
		return false;
	for (int i = 0; i < a->rank; i++)
		if (a->dims[i] != b->dims[i]) /* unknown is the same as unknown here */
			return false;
	return !a->elem == !b->elem && (!a->elem || pai_build_same_type(a->elem, b->elem));
}

static Onnx__TensorShapeProto *build_shape(const pai_builder *b, const pai_type *t)
{
	if (t->rank < 0)
		return NULL;
	Onnx__TensorShapeProto *s = pai_build_start(b, &onnx__tensor_shape_proto__descriptor, NULL);
	s->n_dim = (size_t)t->rank;
	s->dim = PAI_NEWS(b->arena, Onnx__TensorShapeProto__Dimension *, t->rank);
	for (int i = 0; i < t->rank; i++) {
		Onnx__TensorShapeProto__Dimension *d =
			pai_build_start(b, &onnx__tensor_shape_proto__dimension__descriptor, NULL);
		if (t->dims[i] >= 0) {
			d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
			d->dim_value = t->dims[i];
		} else if (t->dims[i] != PAI_DIM_UNKNOWN) {
			d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
			d->dim_param = (char *)pai_dim_text(b->m->ctx, t->dims[i]);
		}
		s->dim[i] = d;
	}
	return s;
}

static void build_tensor_type(const pai_builder *b, const pai_type *t, Onnx__TypeProto *p)
{
	Onnx__TypeProto__Tensor *x =
		pai_build_start(b, &onnx__type_proto__tensor__descriptor, NULL);
	x->has_elem_type = 1;
	x->elem_type = (int32_t)t->dtype;
	x->shape = build_shape(b, t);
	p->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
	p->tensor_type = x;
}

static void build_sparse_type(const pai_builder *b, const pai_type *t, Onnx__TypeProto *p)
{
	Onnx__TypeProto__SparseTensor *x =
		pai_build_start(b, &onnx__type_proto__sparse_tensor__descriptor, NULL);
	x->has_elem_type = 1;
	x->elem_type = (int32_t)t->dtype;
	x->shape = build_shape(b, t);
	p->value_case = ONNX__TYPE_PROTO__VALUE_SPARSE_TENSOR_TYPE;
	p->sparse_tensor_type = x;
}

static void build_map_type(const pai_builder *b, const pai_type *t, Onnx__TypeProto *p)
{
	Onnx__TypeProto__Map *x = pai_build_start(b, &onnx__type_proto__map__descriptor, NULL);
	x->has_key_type = 1;
	x->key_type = (int32_t)t->dtype;
	x->value_type = pai_build_type(b, t->elem);
	p->value_case = ONNX__TYPE_PROTO__VALUE_MAP_TYPE;
	p->map_type = x;
}

static void build_sequence_type(const pai_builder *b, const pai_type *t, Onnx__TypeProto *p)
{
	Onnx__TypeProto__Sequence *x =
		pai_build_start(b, &onnx__type_proto__sequence__descriptor, NULL);
	x->elem_type = pai_build_type(b, t->elem);
	p->value_case = ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE;
	p->sequence_type = x;
}

static void build_optional_type(const pai_builder *b, const pai_type *t, Onnx__TypeProto *p)
{
	Onnx__TypeProto__Optional *x =
		pai_build_start(b, &onnx__type_proto__optional__descriptor, NULL);
	x->elem_type = pai_build_type(b, t->elem);
	p->value_case = ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE;
	p->optional_type = x;
}

/* NULL: nothing is known. */
Onnx__TypeProto *pai_build_type(const pai_builder *b, const pai_type *t)
{
	static void (*const kinds[])(const pai_builder *, const pai_type *, Onnx__TypeProto *) = {
		[PAI_TYPE_TENSOR] = build_tensor_type,
		[PAI_TYPE_SPARSE_TENSOR] = build_sparse_type,
		[PAI_TYPE_SEQUENCE] = build_sequence_type,
		[PAI_TYPE_OPTIONAL] = build_optional_type,
		[PAI_TYPE_MAP] = build_map_type,
	};
	if (!t || t->kind == PAI_TYPE_UNKNOWN)
		return NULL;
	Onnx__TypeProto *p = pai_build_start(b, &onnx__type_proto__descriptor, NULL);
	kinds[t->kind](b, t, p);
	return p;
}

/* What the file says of the value, or what a change has made of it. */
static const pai_type *stated_type(const pai_value *v)
{
	return v->inferred ? v->stated : &v->type;
}

/* `said`: the file's message for it in this list, or NULL. */
Onnx__ValueInfoProto *pai_build_value_info(const pai_builder *b, const pai_value *v,
					   const Onnx__ValueInfoProto *said)
{
	static const pai_type unknown = {.rank = -1};
	const pai_type *type = stated_type(v);
	pai_type was = unknown;
	if (!said && pai_origin_is(v->origin, &onnx__value_info_proto__descriptor))
		said = v->origin;
	if (said && said->type)
		pai_import_type(b->m->ctx, b->arena, said->type, &was);
	bool same = pai_build_same_type(type ? type : &unknown, &was);
	if (said && same && pai_same_text(said->name, v->name))
		return (Onnx__ValueInfoProto *)said;
	Onnx__ValueInfoProto *p = pai_build_start(b, &onnx__value_info_proto__descriptor, said);
	pai_set_text(&p->name, v->name);
	if (!type) /* an output of which nothing was stated: what was inferred helps */
		type = &v->type;
	if (!same || !p->type)
		p->type = pai_build_type(b, type);
	return p;
}

static bool same_dims(const pai_tensor *t, const Onnx__TensorProto *p)
{
	return p->n_dims == (size_t)t->rank &&
	       (t->dims == p->dims || t->rank == 0 ||
		memcmp(t->dims, p->dims, sizeof *t->dims * p->n_dims) == 0);
}

/* Are the contents those that were read from the message? */
static bool holds(const Onnx__TensorProto *p, const pai_tensor *t)
{
	if (t->nbytes == 0)
		return true;
	if (p->raw_data.len)
		return p->raw_data.data == t->data && p->raw_data.len == t->nbytes;
	if (p->n_string_data)
		return t->dtype == PAI_STRING;
	const void *lists[] = {p->float_data, p->int64_data, p->double_data};
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
		if (lists[i])
			return lists[i] == t->data;
	return p->n_int32_data || p->n_uint64_data; /* may have been converted */
}

static void set_contents(const pai_builder *b, Onnx__TensorProto *p, const pai_tensor *t)
{
	if (t->dtype != PAI_STRING) {
		p->has_raw_data = 1;
		p->raw_data = (ProtobufCBinaryData){t->nbytes, t->data};
		return;
	}
	const pai_str *s = t->data;
	p->n_string_data = t->nbytes / sizeof *s;
	p->string_data = PAI_NEWS(b->arena, ProtobufCBinaryData, p->n_string_data);
	for (size_t i = 0; i < p->n_string_data; i++)
		p->string_data[i] = (ProtobufCBinaryData){s[i].n, (uint8_t *)s[i].at};
}

static void set_external(const pai_builder *b, Onnx__TensorProto *p, const char *location,
			 uint64_t offset, uint64_t length)
{
	p->has_data_location = 1;
	p->data_location = 1;
	p->n_external_data = 3;
	p->external_data = PAI_NEWS(b->arena, Onnx__StringStringEntryProto *, 3);
	p->external_data[0] = pai_build_entry(b, "location", location);
	p->external_data[1] =
		pai_build_entry(b, "offset", pai_arena_printf(b->arena, "%" PRIu64, offset));
	p->external_data[2] =
		pai_build_entry(b, "length", pai_arena_printf(b->arena, "%" PRIu64, length));
}

/* The entries as they were, seen from the folder of the output. */
static void keep_external(const pai_builder *b, Onnx__TensorProto *p, const pai_props *e)
{
	p->has_data_location = 1;
	p->data_location = 1;
	p->n_external_data = (size_t)e->n;
	p->external_data = PAI_NEWS(b->arena, Onnx__StringStringEntryProto *, e->n);
	for (int i = 0; i < e->n; i++) {
		const char *value = e->at[i].value;
		if (strcmp(e->at[i].key, "location") == 0)
			value = pai_arena_printf(b->arena, "%s%s", b->store->prefix, value);
		p->external_data[i] = pai_build_entry(b, e->at[i].key, value);
	}
}

/* A tensor whose contents are elsewhere or replaced: the message without any. */
static Onnx__TensorProto *without_contents(const pai_builder *b, const pai_tensor *t,
					   const char *name)
{
	Onnx__TensorProto *p = pai_build_start(b, &onnx__tensor_proto__descriptor, t->origin);
	p->n_float_data = p->n_int32_data = p->n_string_data = p->n_int64_data = 0;
	p->n_double_data = p->n_uint64_data = p->n_external_data = 0;
	p->has_raw_data = p->has_data_location = 0;
	p->has_data_type = 1;
	p->data_type = (int32_t)t->dtype;
	p->n_dims = (size_t)t->rank;
	p->dims = t->dims;
	pai_set_text(&p->name, name);
	return p;
}

static bool goes_out(const pai_builder *b, const pai_tensor *t, bool is_init)
{
	enum { LARGE = 1024 };
	bool was_out = t->external && t->data;
	if (t->dtype == PAI_STRING || !t->nbytes || !t->data)
		return false;
	if (b->store->mode == PAI_EXTERNAL_FILE)
		return was_out || (is_init && t->nbytes >= LARGE);
	return b->store->mode == PAI_EXTERNAL_KEEP && was_out;
}

Onnx__TensorProto *pai_build_tensor(const pai_builder *b, const pai_tensor *t, const char *name,
				    bool is_init)
{
	const pai_props *e = t->external;
	Onnx__TensorProto *old = pai_origin_is(t->origin, &onnx__tensor_proto__descriptor)
					 ? (Onnx__TensorProto *)t->origin
					 : NULL;
	if (goes_out(b, t, is_init)) {
		Onnx__TensorProto *p = without_contents(b, t, name);
		set_external(b, p, b->store->location, pai_store_add(b->arena, b->store, t),
			     t->nbytes);
		return p;
	}
	if (e && (b->store->mode == PAI_EXTERNAL_SHARE || !t->data)) {
		Onnx__TensorProto *p = without_contents(b, t, name);
		keep_external(b, p, e);
		return p;
	}
	bool same = old && !e && pai_same_text(old->name, name) && same_dims(t, old) &&
		    old->data_type == (int32_t)t->dtype && holds(old, t);
	if (same)
		return old;
	Onnx__TensorProto *p = without_contents(b, t, name);
	if (t->data || !t->nbytes)
		set_contents(b, p, t);
	return p;
}
