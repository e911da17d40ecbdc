// Package cli is the command `caddy sessions`.
package cli

import (
	"errors"
	"os"
	"slices"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// Exit codes of the subcommands. Those of Caddy's own commands end at 3.
const (
	exitFailed      = 1 // wrong usage, a file that cannot be read, a fault
	exitNotFound    = 4 // there is no such session
	exitUnavailable = 5 // Caddy, or its session store, cannot be reached
	exitRefused     = 6 // Caddy refuses it; check: the return URL is not accepted
)

// exitCodes is part of the help of each subcommand.
const exitCodes = `

Exit codes: 0 done, 1 failed, 4 there is no such session, 5 Caddy or its session
store cannot be reached, 6 refused.`

// commandError is an error with its exit code.
type commandError struct {
	code int
	err  error
}

func (e *commandError) Error() string { return e.err.Error() }
func (e *commandError) Unwrap() error { return e.err }

// Register adds the commands to Caddy's.
func Register() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "sessions",
		Short: "Manages the sessions of a running Caddy, and checks a configuration",
		Long: `Manages the sessions of a running Caddy through its admin endpoint, and checks
what a configuration does.

The address of the admin endpoint comes from --address, else from the
configuration file given by --config, else it is Caddy's default.` + exitCodes,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.AddCommand(listCommand(), showCommand(), revokeCommand(), issueCommand(), unblockCommand(), checkCommand(), readyCommand())
		},
	})
}

func listCommand() *cobra.Command {
	cmd := adminCommand("list --identity <id>", "Lists the sessions of a person",
		"Lists the live sessions of a person, those that end last first.", cobra.NoArgs, cmdList)
	identityFlag(cmd, true)
	jsonFlag(cmd)
	return cmd
}

func showCommand() *cobra.Command {
	cmd := adminCommand("show <session> --identity <id>", "Shows one session",
		"Shows one session, which is named by its id, or by the first 8 digits of it as in the logs.", cobra.ExactArgs(1), cmdShow)
	identityFlag(cmd, true)
	jsonFlag(cmd)
	cmd.ValidArgsFunction = completeSessions
	return cmd
}

func revokeCommand() *cobra.Command {
	cmd := adminCommand("revoke [<session>] --identity <id> | --all --yes", "Ends one session, all of a person, or those of everybody",
		`Ends one session of a person, or, if none is named, all of them; with --all those
of everybody, which needs --yes. How far that is, is told on standard error; it
goes on in Caddy when this command is interrupted.`, cobra.MaximumNArgs(1), cmdRevoke)
	identityFlag(cmd, false)
	cmd.Flags().Bool("all", false, "End the sessions of everybody")
	cmd.Flags().Bool("yes", false, "Confirm --all")
	cmd.MarkFlagsMutuallyExclusive("identity", "all")
	cmd.MarkFlagsOneRequired("identity", "all")
	jsonFlag(cmd)
	cmd.ValidArgsFunction = completeSessions
	return cmd
}

func issueCommand() *cobra.Command {
	cmd := adminCommand("issue --identity <id> [--traits <json>] [--lifespan <duration>]", "Makes a session and prints its token",
		`Makes a session for a person and prints {"session_token": …, "session": …}.

The token is shown this once: only its SHA-256 is stored.`, cobra.NoArgs, cmdIssue)
	identityFlag(cmd, true)
	cmd.Flags().String("traits", "", "A JSON object about the person")
	cmd.Flags().String("lifespan", "", "How long the session lives, like 1h or 7d (default: the configured lifespan)")
	// It prints nothing but JSON: the flag is there for scripts that always give it.
	jsonFlag(cmd)
	complete(cmd, "traits", cobra.NoFileCompletions)
	complete(cmd, "lifespan", cobra.FixedCompletions([]string{"1h", "12h", "24h", "7d"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func unblockCommand() *cobra.Command {
	cmd := adminCommand("unblock [--account <name>] [--client <ip>]", "Lets a person sign in again after too many failed attempts",
		`Forgets the failed attempts to sign in at an account, those from an address, or, if
both are given, those that keep this account out at this address.`, cobra.NoArgs, cmdUnblock)
	cmd.Flags().String("account", "", "The name that is typed at sign-in")
	cmd.Flags().String("client", "", "The IP address of the client")
	cmd.MarkFlagsOneRequired("account", "client")
	complete(cmd, "account", cobra.NoFileCompletions)
	complete(cmd, "client", cobra.NoFileCompletions)
	jsonFlag(cmd)
	return cmd
}

func checkCommand() *cobra.Command {
	cmd := newCommand("check [--request '<method> <url>'] [--return-to <url>]", "Says what a configuration does with requests and return URLs",
		`Reads a configuration and says which paths are intercepted, gated or open. Nothing
is started, and no store and no running Caddy is asked.

--request says what a request would get, without a session and with one;
--header adds a header to it. --return-to says whether a browser may be sent
there, and by which rule; exit code 6 if it may not. Both can be given several
times.`, cobra.NoArgs, cmdCheck)
	cmd.Flags().StringArray("request", nil, "A request like 'GET https://app.example.com/path'")
	cmd.Flags().StringArray("header", nil, "A header of the requests, like 'Accept: application/json'")
	cmd.Flags().StringArray("return-to", nil, "A return URL, as in ?return_to=")
	complete(cmd, "request", cobra.FixedCompletions([]string{"GET https://", "POST https://"}, cobra.ShellCompDirectiveNoSpace))
	complete(cmd, "header", cobra.FixedCompletions([]string{"Accept: application/json", "Accept: text/html"}, cobra.ShellCompDirectiveNoFileComp))
	complete(cmd, "return-to", cobra.NoFileCompletions)
	configFlags(cmd, "The configuration file (default: Caddyfile in this folder)")
	jsonFlag(cmd)
	return cmd
}

// newCommand makes a subcommand. Caddy turns the code into the exit status, and
// writes the error to standard error.
func newCommand(use, short, long string, args cobra.PositionalArgs, run func(caddycmd.Flags) error) *cobra.Command {
	return &cobra.Command{
		Use:               use,
		Short:             short,
		Long:              long + exitCodes,
		Args:              args,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: caddycmd.WrapCommandFuncForCobra(func(flags caddycmd.Flags) (int, error) {
			err := run(flags)
			if err == nil {
				return caddy.ExitCodeSuccess, nil
			}
			if coded, ok := errors.AsType[*commandError](err); ok {
				return coded.code, printableError(err)
			}
			return exitFailed, printableError(err)
		}),
	}
}

// adminCommand makes a subcommand that asks a running Caddy.
func adminCommand(use, short, long string, args cobra.PositionalArgs, run func(caddycmd.Flags) error) *cobra.Command {
	cmd := newCommand(use, short, long, args, run)
	cmd.Flags().String("address", "", "The address of the admin endpoint")
	complete(cmd, "address", cobra.NoFileCompletions)
	configFlags(cmd, "A configuration file to read the admin address from")
	return cmd
}

func configFlags(cmd *cobra.Command, usage string) {
	cmd.Flags().StringP("config", "c", "", usage)
	cmd.Flags().StringP("adapter", "a", "", "The adapter of the configuration file")
	complete(cmd, "adapter", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		for _, module := range caddy.GetModules("caddy.adapters") {
			names = append(names, module.ID.Name())
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
}

func identityFlag(cmd *cobra.Command, required bool) {
	cmd.Flags().String("identity", "", "The id of the person")
	complete(cmd, "identity", cobra.NoFileCompletions)
	if required {
		mustCommand(cmd.MarkFlagRequired("identity"))
	}
}

func jsonFlag(cmd *cobra.Command) { cmd.Flags().Bool("json", false, "Print JSON, for scripts") }

// complete says how a shell completes the value of a flag.
func complete(cmd *cobra.Command, flag string, with cobra.CompletionFunc) {
	mustCommand(cmd.RegisterFlagCompletionFunc(flag, with))
}

// mustCommand panics at an error that only a misspelt flag in this file can cause.
func mustCommand(err error) {
	if err != nil {
		panic(err)
	}
}

// completeSessions completes the ids of a person's sessions, if Caddy answers at
// once. It prints no error, which would disturb the line that the operator types.
func completeSessions(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if identity, err := cmd.Flags().GetString("identity"); err == nil && identity != "" && len(args) == 0 {
		if c, err := newAdminClient(caddycmd.Flags{FlagSet: cmd.Flags()}); err == nil {
			c.http.Timeout = completionTimeout
			if page, err := c.list(identity); err == nil {
				ids := make([]string, 0, len(page.Sessions))
				for _, s := range page.Sessions {
					ids = append(ids, s.ID+"\t"+printable(s.device()))
				}
				return slices.Clip(ids), cobra.ShellCompDirectiveNoFileComp
			}
		}
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// stdout and stderr are where commands write.
var stdout, stderr = os.Stdout, os.Stderr
