"""Paths under /api/v1."""

from __future__ import annotations

from django.urls import path

from flexai.api.schema import SchemaView
from flexai.api.views import cycles, health, job_actions, jobs, nodes, people, session, teams, usage

urlpatterns = [
    path("health", health.HealthView.as_view()),
    path("schema/", SchemaView.as_view()),
    path("session", session.SessionView.as_view()),
    path("me", session.MeView.as_view()),
    path("jobs", jobs.JobsView.as_view()),
    path("jobs/batch", jobs.JobBatchView.as_view()),
    path("jobs/counts", jobs.JobCountsView.as_view()),
    path("jobs/<str:id>", jobs.JobView.as_view()),
    path("jobs/<str:id>/stop", job_actions.StopView.as_view()),
    path("jobs/<str:id>/resume", job_actions.ResumeView.as_view()),
    path("jobs/<str:id>/hold", job_actions.HoldView.as_view()),
    path("jobs/<str:id>/keep", job_actions.KeepView.as_view()),
    path("jobs/<str:id>/requeue", job_actions.RequeueView.as_view()),
    path("jobs/<str:id>/events", job_actions.EventsView.as_view()),
    path("jobs/<str:id>/logs", job_actions.LogsView.as_view()),
    path("jobs/<str:id>/explain", job_actions.ExplainView.as_view()),
    path("jobs/<str:id>/usage", job_actions.UsageView.as_view()),
    path("nodes", nodes.NodesView.as_view()),
    path("nodes/<str:id>", nodes.NodeView.as_view()),
    path("nodes/<str:id>/drain", nodes.DrainView.as_view()),
    path("nodes/<str:id>/cordon", nodes.CordonView.as_view()),
    path("nodes/<str:id>/return", nodes.ReturnView.as_view()),
    path("chips", nodes.ChipsView.as_view()),
    path("cluster", nodes.ClusterView.as_view()),
    path("cycles", cycles.CyclesView.as_view()),
    path("forecasts", cycles.ForecastsView.as_view()),
    path("policy", cycles.PolicyView.as_view()),
    path("recordings", cycles.RecordingsView.as_view()),
    path("recordings/<str:id>", cycles.RecordingView.as_view()),
    path("teams", teams.TeamsView.as_view()),
    path("teams/<str:id>", teams.TeamView.as_view()),
    path("teams/<str:id>/quotas", teams.QuotasView.as_view()),
    path("teams/<str:id>/user-caps", teams.UserCapsView.as_view()),
    path("teams/<str:id>/budget", teams.BudgetView.as_view()),
    path("teams/<str:id>/members/<str:username>", people.TeamMemberView.as_view()),
    path("members", people.MembersView.as_view()),
    path("members/<str:username>", people.MemberView.as_view()),
    path("service-accounts", people.AccountsView.as_view()),
    path("service-accounts/<str:id>", people.AccountView.as_view()),
    path("service-accounts/<str:id>/tokens", people.AccountTokensView.as_view()),
    path("usage", usage.UsageView.as_view()),
    path("usage.csv", usage.UsageFileView.as_view()),
    path("prices", usage.PricesView.as_view()),
    path("tokens", teams.TokensView.as_view()),
    path("tokens/<str:id>", teams.TokenView.as_view()),
    path("agents/enrol", nodes.EnrolView.as_view()),
    path("enrolment-tokens", nodes.EnrolmentTokensView.as_view()),
]
