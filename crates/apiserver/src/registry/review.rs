//! Kinds that are questions: a create answers, and nothing is stored.

use onggi_api::Status;
use onggi_client::{Request, Response};
use onggi_machinery::resource::Resource;

use super::{Context, Registry, decode, meta};
use crate::{authn, authz};

/// Whether objects of a kind are answered instead of stored.
pub(crate) fn is_review(row: &Resource) -> bool {
    matches!(
        (row.group, row.kind),
        ("authentication.k8s.io", "TokenReview" | "SelfSubjectReview")
            | (
                "authorization.k8s.io",
                "SubjectAccessReview"
                    | "LocalSubjectAccessReview"
                    | "SelfSubjectAccessReview"
                    | "SelfSubjectRulesReview"
            )
    )
}

impl Registry {
    /// POST of a question.
    pub(crate) async fn review(
        &self,
        context: &Context,
        row: &'static Resource,
        mut request: Request,
    ) -> Result<Response, Status> {
        let mut warnings = Vec::new();
        let (mut object, _) =
            decode::object(context, row, &self.kind(row)?, &mut request, &mut warnings)?;
        meta::set_namespace(row, &request.namespace, &mut object)?;
        let user = &context.user;
        let value = match row.kind {
            "TokenReview" => authn::token_review(self, object).await?,
            "SelfSubjectReview" => authn::self_subject_review(self, user, object),
            _ => {
                let namespace = &request.namespace;
                authz::reviews::answer(&self.authorizers, user, row, namespace, object).await?
            }
        };
        Ok(Response::Document { value, created: true, warnings })
    }
}
