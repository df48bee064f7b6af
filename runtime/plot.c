/* plot.c -- curves as SVG: panels side by side, each with axes, ticks, grid and legend. No scripts,
 * no fonts of its own; numbers are printed with fixed precision, so equal data give equal bytes. */
#include "runtime/runtime.h"
#include <math.h>
#include <string.h>

enum {
	WIDTH = 460,
	HEIGHT = 340, /* of a panel */
	LEFT = 62,
	RIGHT = 14,
	TOP = 64,
	BOTTOM = 46, /* margins around the axes */
	TICKS = 5,
};

/* Distinguishable to most colour-blind readers (Okabe and Ito). */
static const char *const colours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
				      "#e69f00", "#56b4e9", "#000000", "#999999"};
enum { N_COLOURS = sizeof colours / sizeof colours[0] };

typedef struct range {
	double from, to, step;
} range;

typedef struct plot {
	pai_writer *w;
	const pai_panel *panels;
	int n;
} plot;

static void include(range *r, double v)
{
	if (!isfinite(v))
		return;
	r->from = fmin(r->from, v);
	r->to = fmax(r->to, v);
}

/* 1, 2 or 5 times a power of ten, so that about TICKS of them span the range. */
static double nice_step(double span)
{
	double raw = span / TICKS, power = pow(10, floor(log10(raw))), m = raw / power;
	return power * (m <= 1 ? 1 : m <= 2 ? 2 : m <= 5 ? 5 : 10);
}

static void round_out(range *r)
{
	if (r->from > r->to)
		*r = (range){0, 1, 0};
	if (r->from == r->to) {
		double pad = fmax(fabs(r->from) * 0.1, 1e-9);
		r->from -= pad;
		r->to += pad;
	}
	r->step = nice_step(r->to - r->from);
	r->from = floor(r->from / r->step + 1e-9) * r->step;
	r->to = ceil(r->to / r->step - 1e-9) * r->step;
}

static void put_text(pai_writer *w, const char *s)
{
	for (; *s; s++) {
		const char *entity = *s == '<'   ? "&lt;"
				     : *s == '&' ? "&amp;"
				     : *s == '"' ? "&quot;"
						 : NULL;
		if (entity)
			pai_writer_put(w, entity, strlen(entity));
		else if ((uint8_t)*s >= ' ')
			pai_writer_put(w, s, 1);
	}
}

static void text(pai_writer *w, double x, double y, const char *attributes, const char *s)
{
	pai_writer_printf(w, "<text x=\"%.1f\" y=\"%.1f\" %s>", x, y, attributes);
	put_text(w, s);
	pai_writer_printf(w, "</text>\n");
}

static int colour_of(const plot *p, const char *name)
{
	int found = 0;
	for (int i = 0; i < p->n; i++)
		for (int k = 0; k < p->panels[i].n; k++) {
			const char *other = p->panels[i].series[k].name;
			if (strcmp(other, name) == 0)
				return found % N_COLOURS;
			bool seen = false; /* a name counts once, where it first stands */
			for (int j = 0; j <= i && !seen; j++)
				for (int l = 0; l < (j < i ? p->panels[j].n : k) && !seen; l++)
					seen = strcmp(p->panels[j].series[l].name, other) == 0;
			found += !seen;
		}
	return 0;
}

static double place(const range *r, double v, double from, double to)
{
	return from + (v - r->from) / (r->to - r->from) * (to - from);
}

static int ticks(const range *r)
{
	return (int)((r->to - r->from) / r->step + 0.5);
}

static void draw_axis_x(pai_writer *w, const range *r, double left, double right, double bottom)
{
	for (int i = 0; i <= ticks(r); i++) {
		double v = r->from + i * r->step;
		double x = place(r, v, left, right);
		pai_writer_printf(w, "<path d=\"M%.1f %.1fv4\" class=\"axis\"/>\n", x, bottom);
		pai_writer_printf(w, "<text x=\"%.1f\" y=\"%.1f\" class=\"mid\">%.6g</text>\n", x,
				  bottom + 17, fabs(v) < r->step / 1e6 ? 0 : v);
	}
}

static void draw_axis_y(pai_writer *w, const range *r, double left, double right, double top,
			double bottom)
{
	for (int i = 0; i <= ticks(r); i++) {
		double v = r->from + i * r->step;
		double y = place(r, v, bottom, top);
		pai_writer_printf(w, "<path d=\"M%.1f %.1fH%.1f\" class=\"grid\"/>\n", left, y,
				  right);
		pai_writer_printf(w, "<text x=\"%.1f\" y=\"%.1f\" class=\"end\">%.6g</text>\n",
				  left - 7, y + 4, fabs(v) < r->step / 1e6 ? 0 : v);
	}
}

static void draw_series(const plot *p, const pai_series *s, const range *rx, const range *ry,
			double left, double right, double top, double bottom)
{
	const char *colour = colours[colour_of(p, s->name)];
	pai_writer_printf(p->w, "<path class=\"line\" stroke=\"%s\" d=\"", colour);
	bool down = false; /* the pen; lifted where there is no point */
	for (int i = 0; i < s->n; i++) {
		bool point = isfinite(s->x[i]) && isfinite(s->y[i]);
		if (point)
			pai_writer_printf(p->w, "%c%.1f %.1f", down ? 'L' : 'M',
					  place(rx, s->x[i], left, right),
					  place(ry, s->y[i], bottom, top));
		down = point;
	}
	pai_writer_printf(p->w, "\"/>\n");
	for (int i = 0; i < s->n && s->n <= 60; i++)
		if (isfinite(s->x[i]) && isfinite(s->y[i]))
			pai_writer_printf(
				p->w, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.2\" fill=\"%s\"/>\n",
				place(rx, s->x[i], left, right), place(ry, s->y[i], bottom, top),
				colour);
}

static void draw_legend(const plot *p, const pai_panel *panel, double left, double top)
{
	double x = left;
	for (int i = 0; i < panel->n; i++) {
		const char *name = panel->series[i].name;
		pai_writer_printf(p->w,
				  "<path d=\"M%.1f %.1fh16\" class=\"line\" stroke=\"%s\"/>\n", x,
				  top - 12, colours[colour_of(p, name)]);
		text(p->w, x + 20, top - 8, "", name);
		x += 32 + 6.6 * (double)strlen(name);
	}
}

static void draw_panel(const plot *p, int k)
{
	const pai_panel *panel = &p->panels[k];
	double left = k * WIDTH + LEFT, right = (k + 1) * WIDTH - RIGHT, top = TOP,
	       bottom = HEIGHT - BOTTOM;
	range rx = {INFINITY, -INFINITY, 0}, ry = rx;
	for (int i = 0; i < panel->n; i++)
		for (int j = 0; j < panel->series[i].n; j++) {
			include(&rx, panel->series[i].x[j]);
			include(&ry, panel->series[i].y[j]);
		}
	round_out(&rx);
	round_out(&ry);
	text(p->w, left, 38, "class=\"title\"", panel->title);
	draw_axis_y(p->w, &ry, left, right, top, bottom);
	draw_axis_x(p->w, &rx, left, right, bottom);
	pai_writer_printf(p->w, "<path d=\"M%.1f %.1fV%.1fH%.1f\" class=\"axis\"/>\n", left, top,
			  bottom, right);
	text(p->w, (left + right) / 2, HEIGHT - 8, "class=\"mid\"", panel->x_label);
	pai_writer_printf(p->w, "<g transform=\"translate(%.1f %.1f) rotate(-90)\">",
			  left - LEFT + 13, (top + bottom) / 2);
	text(p->w, 0, 0, "class=\"mid\"", panel->y_label);
	pai_writer_printf(p->w, "</g>\n");
	for (int i = 0; i < panel->n; i++)
		draw_series(p, &panel->series[i], &rx, &ry, left, right, top, bottom);
	draw_legend(p, panel, left, top);
}

pai_status pai_plot_write(pai_ctx *ctx, const char *path, const char *title, int n,
			  const pai_panel *panels)
{
	plot p = {.panels = panels, .n = n};
	PAI_TRY(pai_writer_open(ctx, path, &p.w));
	pai_writer_printf(p.w,
			  "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
			  "viewBox=\"0 0 %d %d\">\n<style>text{font:12px sans-serif;fill:#222}"
			  ".title{font-weight:bold}.mid{text-anchor:middle}.end{text-anchor:end}"
			  ".grid{stroke:#ddd}.axis{stroke:#444;fill:none}"
			  ".line{fill:none;stroke-width:1.6}</style>\n"
			  "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
			  n * WIDTH, HEIGHT, n * WIDTH, HEIGHT);
	text(p.w, 14, 19, "class=\"title\"", title);
	for (int i = 0; i < n; i++)
		draw_panel(&p, i);
	pai_writer_printf(p.w, "</svg>\n");
	return pai_writer_commit(p.w);
}
