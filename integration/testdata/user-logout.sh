#!/usr/bin/env bash
# The browser part of Ory's public example of a self-service logout, with the
# host and the account taken from the environment and nothing else changed.
# (c) Ory Corp, Apache-2.0.

# Username/email and password for an existing account
username="$CADDY_LOGOUT_ACCOUNT"
password="$CADDY_LOGOUT_PASSWORD"

# We use this cookie jar to initiate the login flow
cookieJar=$(mktemp)

# Initialize the flow
flow=$( \
  curl -s -H "Accept: application/json" --cookie $cookieJar --cookie-jar $cookieJar \
    "$CADDY_LOGOUT_URL/self-service/login/browser" \
)

# Get the action URL
actionUrl=$(echo $flow | jq -r '.ui.action')

# Get the CSRF Token
csrfToken=$( \
  echo $flow | \
    jq -r '.ui.nodes[] | select(.attributes.name=="csrf_token") | .attributes.value' \
)

# Complete the login
session=$( \
  curl -s --cookie $cookieJar --cookie-jar $cookieJar -X POST \
    -H "Accept: application/json" -H "Content-Type: application/json" \
    --data '{ "identifier": "'$username'", "password": "'$password'", "method": "password", "csrf_token": "'$csrfToken'" }' \
    "$actionUrl" \
)

echo $session | jq

# Check the current user id
curl -s --cookie $cookieJar --cookie-jar $cookieJar -H "Accept: application/json" \
  $CADDY_LOGOUT_URL/sessions/whoami | \
    jq -r ".id"

# Get the Logout URL
logoutUrl=$( \
  curl -s --cookie $cookieJar --cookie-jar $cookieJar -H "Accept: application/json" \
    $CADDY_LOGOUT_URL/self-service/logout/browser | \
      jq -r ".logout_url" \
)

# Complete the logout
curl -s --cookie $cookieJar --cookie-jar $cookieJar "$logoutUrl"

# Check the current user id again. It should be `null` after a successful logout
curl -s --cookie $cookieJar --cookie-jar $cookieJar -H "Accept: application/json" \
  $CADDY_LOGOUT_URL/sessions/whoami | \
    jq -r ".id"
