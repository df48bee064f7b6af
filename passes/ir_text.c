/* ir_text.c -- the model as text for people: printed, compared line by line, kept for a report. */
#include "passes/manager.h"
#include <string.h>

enum { SHOWN_ELEMENTS = 16, CONTEXT = 2, COMPARED = 3000 };

typedef PAI_VEC(char) buffer;

typedef struct sink {
	pai_arena *arena;
	buffer text;
} sink;

static void put(void *payload, const char *s, size_t n)
{
	sink *k = payload;
	for (size_t i = 0; i < n; i++)
		PAI_PUSH(k->arena, k->text, s[i]);
}

const char *pai_model_text(pai_arena *a, const pai_model *m)
{
	sink k = {.arena = a};
	pai_text_print(m, SHOWN_ELEMENTS, &k, put);
	put(&k, "", 1);
	return k.text.at;
}

typedef struct lines {
	const char **at; /* each ended by '\n' or the end of the text */
	int n, cap;
} lines;

static lines split(pai_arena *a, const char *text)
{
	lines l = {0};
	for (const char *s = text; *s;) {
		PAI_PUSH(a, l, s);
		const char *end = strchr(s, '\n');
		s = end ? end + 1 : s + strlen(s);
	}
	return l;
}

static bool same(const char *x, const char *y)
{
	size_t nx = strcspn(x, "\n"), ny = strcspn(y, "\n");
	return nx == ny && memcmp(x, y, nx) == 0;
}

static void print_line(FILE *to, char mark, const char *line)
{
	fprintf(to, "%c%.*s\n", mark, (int)strcspn(line, "\n"), line);
}

/* Longest common subsequence of two middles, by the table of lengths of common tails. */
static void print_middle(pai_arena *a, const char **x, int nx, const char **y, int ny, FILE *to)
{
	bool fits = nx <= COMPARED && ny <= COMPARED;
	uint16_t *tail = fits ? PAI_NEWS(a, uint16_t, (nx + 1) * (ny + 1)) : NULL;
#define TAIL(i, j) tail[(i) * (ny + 1) + (j)]
	for (int i = nx - 1; fits && i >= 0; i--)
		for (int j = ny - 1; j >= 0; j--)
			TAIL(i, j) = same(x[i], y[j]) ? (uint16_t)(TAIL(i + 1, j + 1) + 1)
				     : TAIL(i + 1, j) > TAIL(i, j + 1) ? TAIL(i + 1, j)
								       : TAIL(i, j + 1);
	int i = 0, j = 0;
	while (i < nx || j < ny) {
		if (fits && i < nx && j < ny && same(x[i], y[j])) {
			print_line(to, ' ', x[i++]);
			j++;
		} else if (i < nx && (!fits || j == ny || TAIL(i + 1, j) >= TAIL(i, j + 1))) {
			print_line(to, '-', x[i++]);
		} else {
			print_line(to, '+', y[j++]);
		}
	}
#undef TAIL
}

void pai_print_diff(pai_arena *a, const char *before, const char *after, FILE *to)
{
	lines x = split(a, before), y = split(a, after);
	int head = 0, tail = 0;
	while (head < x.n && head < y.n && same(x.at[head], y.at[head]))
		head++;
	while (tail < x.n - head && tail < y.n - head &&
	       same(x.at[x.n - 1 - tail], y.at[y.n - 1 - tail]))
		tail++;
	for (int i = head > CONTEXT ? head - CONTEXT : 0; i < head; i++)
		print_line(to, ' ', x.at[i]);
	print_middle(a, x.at + head, x.n - head - tail, y.at + head, y.n - head - tail, to);
	for (int i = x.n - tail; i < x.n && i < x.n - tail + CONTEXT; i++)
		print_line(to, ' ', x.at[i]);
}

static void put_to_file(void *payload, const char *s, size_t n)
{
	pai_writer_put(payload, s, n);
}

pai_status pai_reproducer_write(pai_ctx *ctx, const char *path, const char *command,
				const pai_model *m)
{
	pai_writer *w;
	PAI_TRY(pai_writer_open(ctx, path, &w));
	pai_writer_printf(w, "# RUN: %s\n", command);
	pai_text_print(m, 0, w, put_to_file);
	return pai_writer_commit(w);
}
