//! Users and decisions from elsewhere.

use std::path::PathBuf;

use clap::Args;

/// The options of kube-apiserver under their names.
#[derive(Args, Clone)]
pub(super) struct Identity {
    /// The issuer of OpenID Connect tokens; its keys are found below this URL
    #[arg(long, value_name = "URL")]
    oidc_issuer_url: Option<String>,
    /// For whom its tokens must be
    #[arg(long, value_name = "ID")]
    oidc_client_id: Option<String>,
    /// The claim that is the user's name; sub where it is not given
    #[arg(long, value_name = "CLAIM")]
    oidc_username_claim: Option<String>,
    /// What stands before the name; - for nothing, the issuer and # where it is not given
    #[arg(long, value_name = "TEXT")]
    oidc_username_prefix: Option<String>,
    /// The claim with the user's groups
    #[arg(long, value_name = "CLAIM")]
    oidc_groups_claim: Option<String>,
    /// What stands before each group
    #[arg(long, value_name = "TEXT")]
    oidc_groups_prefix: Option<String>,
    /// A claim that must have a value: key=value; may be repeated
    #[arg(long, value_name = "PAIRS", value_delimiter = ',')]
    oidc_required_claim: Vec<String>,
    /// How its tokens may be signed; RS256 where it is not given
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    oidc_signing_algs: Vec<String>,
    /// Who vouches for the issuer; the machine's authorities where it is not given
    #[arg(long, value_name = "FILE")]
    oidc_ca_file: Option<PathBuf>,
    /// An AuthenticationConfiguration: issuers of tokens, and where anonymous requests are let in
    #[arg(long, value_name = "FILE", conflicts_with = "anonymous_auth")]
    authentication_config: Option<PathBuf>,
    /// A kubeconfig of a server that knows tokens
    #[arg(long, value_name = "FILE")]
    authentication_token_webhook_config_file: Option<PathBuf>,
    /// The version of the TokenReviews that it is sent: v1 or v1beta1
    #[arg(long, value_name = "VERSION")]
    authentication_token_webhook_version: Option<String>,
    /// How long its answers are kept; 2m where it is not given
    #[arg(long, value_name = "TIME")]
    authentication_token_webhook_cache_ttl: Option<String>,
    /// An AuthorizationConfiguration: who decides, in which order
    #[arg(long, value_name = "FILE", conflicts_with = "authorization_mode")]
    authorization_config: Option<PathBuf>,
    /// A kubeconfig of a server that decides, for the mode Webhook
    #[arg(long, value_name = "FILE")]
    authorization_webhook_config_file: Option<PathBuf>,
    /// The version of the SubjectAccessReviews that it is sent: v1 or v1beta1, which is the default
    #[arg(long, value_name = "VERSION")]
    authorization_webhook_version: Option<String>,
    /// How long its yes is kept; 5m where it is not given
    #[arg(long, value_name = "TIME")]
    authorization_webhook_cache_authorized_ttl: Option<String>,
    /// How long its no is kept; 30s where it is not given
    #[arg(long, value_name = "TIME")]
    authorization_webhook_cache_unauthorized_ttl: Option<String>,
}

impl From<Identity> for onggi_supervisor::Identity {
    fn from(args: Identity) -> Self {
        Self {
            oidc_issuer_url: args.oidc_issuer_url,
            oidc_client_id: args.oidc_client_id,
            oidc_username_claim: args.oidc_username_claim,
            oidc_username_prefix: args.oidc_username_prefix,
            oidc_groups_claim: args.oidc_groups_claim,
            oidc_groups_prefix: args.oidc_groups_prefix,
            oidc_required_claims: args.oidc_required_claim,
            oidc_signing_algs: args.oidc_signing_algs,
            oidc_ca_file: args.oidc_ca_file,
            authentication_config: args.authentication_config,
            authentication_token_webhook_config_file: args.authentication_token_webhook_config_file,
            authentication_token_webhook_version: args.authentication_token_webhook_version,
            authentication_token_webhook_cache_ttl: args.authentication_token_webhook_cache_ttl,
            authorization_config: args.authorization_config,
            authorization_webhook_config_file: args.authorization_webhook_config_file,
            authorization_webhook_version: args.authorization_webhook_version,
            authorization_webhook_cache_authorized_ttl: args
                .authorization_webhook_cache_authorized_ttl,
            authorization_webhook_cache_unauthorized_ttl: args
                .authorization_webhook_cache_unauthorized_ttl,
        }
    }
}
