// This file holds the command caddy sessions, which speaks with the admin
// endpoint of a running Caddy.

package caddylogout

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// registerCommands adds the commands to Caddy's.
func registerCommands() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "sessions",
		Short: "Manages the sessions of a running Caddy",
		Long: `Manages the sessions of a running Caddy through its admin endpoint.

The address of the admin endpoint comes from --address, else from the
configuration file given by --config, else it is Caddy's default.`,
		CobraFunc: func(cmd *cobra.Command) {
			issue := &cobra.Command{
				Use:   "issue --identity <id> [--traits <json>] [--lifespan <duration>] [--address <interface>] [--config <path> [--adapter <name>]]",
				Short: "Makes a session and prints its token",
				Long: `Makes a session for a person and prints {"session_token": …, "session": …}.

The token is shown this once: only its SHA-256 is stored.`,
				Args: cobra.NoArgs,
				RunE: caddycmd.WrapCommandFuncForCobra(cmdIssue),
			}
			issue.Flags().String("identity", "", "The id of the person (required)")
			issue.Flags().String("traits", "", "A JSON object about the person")
			issue.Flags().String("lifespan", "", "How long the session lives, like 1h or 7d (default: the configured lifespan)")
			issue.Flags().String("address", "", "The address of the admin endpoint")
			issue.Flags().StringP("config", "c", "", "A configuration file to read the admin address from")
			issue.Flags().StringP("adapter", "a", "", "The adapter of the configuration file")
			_ = issue.MarkFlagRequired("identity")
			cmd.AddCommand(issue)
			cmd.AddCommand(readyCommand())
		},
	})
}

func cmdIssue(flags caddycmd.Flags) (int, error) {
	q := issueRequest{Identity: flags.String("identity"), Lifespan: flags.String("lifespan")}
	if traits := flags.String("traits"); traits != "" {
		if !json.Valid([]byte(traits)) {
			return caddy.ExitCodeFailedStartup, fmt.Errorf("--traits: not valid JSON")
		}
		q.Traits = json.RawMessage(traits)
	}
	if _, err := q.session("token"); err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	body, err := json.Marshal(q)
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	address, err := caddycmd.DetermineAdminAPIAddress(flags.String("address"), nil, flags.String("config"), flags.String("adapter"))
	if err != nil {
		return caddy.ExitCodeFailedStartup, fmt.Errorf("finding the admin endpoint: %w", err)
	}
	headers := http.Header{"Content-Type": {"application/json"}}
	resp, err := caddycmd.AdminAPIRequest(address, http.MethodPost, "/sessions", headers, bytes.NewReader(body))
	if err != nil {
		return caddy.ExitCodeFailedStartup, fmt.Errorf("asking the admin endpoint: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return caddy.ExitCodeFailedStartup, fmt.Errorf("reading the answer of the admin endpoint: %w", err)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, answer, "", "  "); err != nil {
		return caddy.ExitCodeFailedStartup, fmt.Errorf("the answer of the admin endpoint is not JSON")
	}
	fmt.Print(out.String())
	return caddy.ExitCodeSuccess, nil
}
