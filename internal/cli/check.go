package cli

import (
	"errors"
	"fmt"

	"github.com/caddy-logout/caddy-logout/internal/check"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

// errReturnURLRefused makes the exit status say that a return URL is refused.
var errReturnURLRefused = &commandError{exitRefused, errors.New("a return URL is refused")}

func cmdCheck(flags caddycmd.Flags) error {
	header, err := flags.GetStringArray("header")
	if err != nil {
		return err
	}
	requests, err := flags.GetStringArray("request")
	if err != nil {
		return err
	}
	returnTo, err := flags.GetStringArray("return-to")
	if err != nil {
		return err
	}
	if len(header) > 0 && len(requests) == 0 {
		return errors.New("--header goes with --request")
	}
	config, _, _, err := caddycmd.LoadConfig(flags.String("config"), flags.String("adapter"))
	if err != nil {
		return err
	}
	if len(config) == 0 {
		return errors.New("there is no configuration: want --config, or a Caddyfile in this folder")
	}
	c, err := check.New(config)
	if err != nil {
		return err
	}
	defer c.Close()
	answer, err := c.Answer(requests, header, returnTo)
	if err != nil {
		return err
	}
	if flags.Bool("json") {
		err = printJSON(answer)
	} else {
		err = printTables(answer.Tables())
	}
	if err != nil {
		return err
	}
	for _, v := range answer.ReturnTo {
		if !v.Accepted {
			return errReturnURLRefused
		}
	}
	return nil
}

// printTables prints tables whose first row is their heading.
func printTables(tables [][][]string) error {
	for i, rows := range tables {
		if i > 0 {
			fmt.Fprintln(stdout)
		}
		if err := printTable(rows[0], rows[1:]); err != nil {
			return err
		}
	}
	return nil
}
