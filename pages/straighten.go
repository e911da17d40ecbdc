// A template is rendered through all its branches, so that one run finds every mistake,
// with the file and the line.

package pages

import (
	texttemplate "text/template"
	"text/template/parse"
)

// eager holds both logical functions: the built-in ones do not evaluate all
// arguments.
var eager = texttemplate.FuncMap{
	"and": func(first any, _ ...any) any { return first },
	"or":  func(first any, _ ...any) any { return first },
}

// straighten replaces each condition below a node by all of its branches, one
// after the other. It removes break and continue.
func straighten(list *parse.ListNode) {
	if list == nil {
		return
	}
	var nodes []parse.Node
	for _, node := range list.Nodes {
		switch n := node.(type) {
		case *parse.IfNode:
			nodes = append(nodes, evaluate(n.Pipe))
			nodes = append(nodes, all(n.List, n.ElseList)...)
		case *parse.WithNode:
			straighten(n.List)
			nodes = append(nodes, n)
			nodes = append(nodes, all(n.ElseList)...)
			n.ElseList = nil
		case *parse.RangeNode:
			straighten(n.List)
			nodes = append(nodes, n)
			nodes = append(nodes, all(n.ElseList)...)
			n.ElseList = nil
		case *parse.BreakNode, *parse.ContinueNode:
		default:
			nodes = append(nodes, n)
		}
	}
	list.Nodes = nodes
}

// evaluate is an action that evaluates a condition.
func evaluate(pipe *parse.PipeNode) parse.Node {
	return &parse.ActionNode{NodeType: parse.NodeAction, Pos: pipe.Pos, Line: pipe.Line, Pipe: pipe}
}

func all(lists ...*parse.ListNode) []parse.Node {
	var nodes []parse.Node
	for _, list := range lists {
		if list != nil {
			straighten(list)
			nodes = append(nodes, list.Nodes...)
		}
	}
	return nodes
}
