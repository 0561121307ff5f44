// Package figures draws the figures of docs/evaluation from the data beside them.
// It makes SVG: text, small, and readable on any screen.
package figures

import (
	"bytes"
	"fmt"
	"image/color"
	"os"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Line is one series of a figure.
type Line struct {
	Name   string // "": it is not in the legend
	Points [][2]float64
	Marked bool // with a mark at each point
	Dashed bool
	// Alone: marks without a line between them.
	Alone bool
	// Like is the number of the line whose colour this one has, plus one; 0 for a
	// colour of its own.
	Like int
}

// Figure is one plot.
type Figure struct {
	Title, X, Y string
	LogX, LogY  bool
	// Bottom and Top bound the y axis, where they are not both 0.
	Bottom, Top float64
	LegendLeft  bool
	LegendLow   bool
	Lines       []Line
}

// colours are told apart by people who do not see all colours, too (Okabe and Ito).
var colours = []color.RGBA{
	{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255}, {86, 180, 233, 255}, {230, 159, 0, 255}, {0, 0, 0, 255},
}

// Write draws a figure into a file.
func (f Figure) Write(file string) error {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = f.Title, f.X, f.Y
	p.Legend.Left, p.Legend.Top = f.LegendLeft, !f.LegendLow
	p.Legend.Padding = vg.Points(2)
	p.Add(plotter.NewGrid())
	if f.LogX {
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	}
	if f.LogY {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	}
	own := 0
	for _, l := range f.Lines {
		at := l.Like - 1
		if l.Like == 0 {
			at = own
			own++
		}
		if err := l.add(p, colours[at%len(colours)], at); err != nil {
			return fmt.Errorf("%s, %s: %w", file, l.Name, err)
		}
	}
	if f.Bottom != 0 || f.Top != 0 {
		p.Y.Min, p.Y.Max = f.Bottom, f.Top
	}
	canvas := vgsvg.New(16*vg.Centimeter, 10*vg.Centimeter)
	p.Draw(draw.New(canvas))
	var out bytes.Buffer
	if _, err := canvas.WriteTo(&out); err != nil {
		return err
	}
	return os.WriteFile(file, out.Bytes(), 0o644)
}

func (l Line) add(p *plot.Plot, c color.RGBA, shape int) error {
	points := make(plotter.XYs, len(l.Points))
	for i, at := range l.Points {
		points[i].X, points[i].Y = at[0], at[1]
	}
	line, marks, err := plotter.NewLinePoints(points)
	if err != nil {
		return err
	}
	line.Color, line.Width = c, vg.Points(1.5)
	if l.Dashed {
		line.Dashes = []vg.Length{vg.Points(4), vg.Points(3)}
	}
	marks.Color, marks.Shape, marks.Radius = c, shapes[shape%len(shapes)], vg.Points(3)
	var thumbs []plot.Thumbnailer
	if !l.Alone {
		p.Add(line)
		thumbs = append(thumbs, line)
	}
	if l.Marked || l.Alone {
		p.Add(marks)
		thumbs = append(thumbs, marks)
	}
	if l.Name != "" {
		p.Legend.Add(l.Name, thumbs...)
	}
	return nil
}

var shapes = []draw.GlyphDrawer{
	draw.CircleGlyph{}, draw.SquareGlyph{}, draw.TriangleGlyph{}, draw.PyramidGlyph{}, draw.CrossGlyph{}, draw.RingGlyph{}, draw.PlusGlyph{},
}
