package main

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"
	"time"
)

// chart is a picture of durations over time, with a logarithmic scale.
type chart struct {
	Title, XLabel string
	Step          float64 // seconds between two values of a line
	Lines         []line
	Reference     float64 // a level to compare with; 0 is none
	ReferenceName string
}

type line struct {
	Name   string
	Values []float64 // milliseconds
}

//go:embed chart.svg.tmpl
var chartSource string

var chartTemplate = template.Must(template.New("chart").Parse(chartSource))

// The plot within the picture, in pixels.
const (
	plotLeft, plotTop      = 70.0, 80.0
	plotWidth, plotHeight  = 780.0, 300.0
	plotRight, plotBottom  = plotLeft + plotWidth, plotTop + plotHeight
	chartWidth             = plotRight + 30
	chartHeight            = plotBottom + 52
	legendWidth, maxXTicks = 210.0, 10
)

// drawing is what the template draws.
type drawing struct {
	chart

	Width, Height            float64
	Left, Top, Right, Bottom float64
	Middle                   float64
	XTicks, YTicks           []tick
	Drawn                    []drawnLine
	ReferenceX, ReferenceY   float64
}

type tick struct {
	At   float64
	Text string
}

type drawnLine struct {
	Number     int
	Name, Path string
	LegendX    float64
}

// render writes the picture as SVG. It takes the colours of a dark page where the reader has one.
func (c chart) render(to io.Writer) error {
	longest, low, high := 1, 1.0, 10.0
	for _, l := range c.Lines {
		longest = max(longest, len(l.Values))
		high = max(high, slices.Max(append(l.Values, 0)))
	}
	decades := math.Ceil(math.Log10(high))
	x := func(seconds float64) float64 { return round(plotLeft + plotWidth*seconds/(float64(longest)*c.Step)) }
	y := func(value float64) float64 {
		return round(plotBottom - plotHeight*math.Log10(max(value, low))/decades)
	}
	d := drawing{
		chart: c, Width: chartWidth, Height: chartHeight, Left: plotLeft, Top: plotTop, Right: plotRight, Bottom: plotBottom,
		Middle: plotLeft + plotWidth/2,
	}
	for decade := range int(decades) + 1 {
		value := math.Pow(10, float64(decade))
		d.YTicks = append(d.YTicks, tick{y(value), (time.Duration(value) * time.Millisecond).String()})
	}
	total := float64(longest) * c.Step
	for every, at := niceStep(total/maxXTicks), 0.0; at <= total; at += every {
		d.XTicks = append(d.XTicks, tick{x(at), strings.TrimSuffix(fmt.Sprintf("%.1f", at), ".0")})
	}
	for i, l := range c.Lines {
		var path strings.Builder
		for n, value := range l.Values {
			fmt.Fprintf(&path, "%s%v %v", map[bool]string{true: "M", false: "L"}[n == 0], x((float64(n)+0.5)*c.Step), y(value))
		}
		d.Drawn = append(d.Drawn, drawnLine{i + 1, l.Name, path.String(), plotLeft + float64(i)*legendWidth})
	}
	if c.Reference > 0 {
		d.ReferenceX, d.ReferenceY = plotLeft+float64(len(c.Lines))*legendWidth, y(c.Reference)
	}
	return chartTemplate.Execute(to, d)
}

// niceStep is the first of 1, 2 and 5, or ten times that and so on, that is not less.
func niceStep(least float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(least)))
	for _, factor := range []float64{1, 2, 5} {
		if factor*power >= least {
			return factor * power
		}
	}
	return 10 * power
}

// round keeps the file short: a tenth of a pixel is enough.
func round(pixels float64) float64 { return math.Round(pixels*10) / 10 }
